"""`tb submit`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from transferbench.cli.options import data_dir_option, home_option, json_option
from transferbench.cli.terminal import print_json, print_table

if TYPE_CHECKING:
    from transferbench.home import Home
    from transferbench.pipeline.datasets import DataOptions


@click.command(short_help="Write an entry to the VOC evaluation server, or check one.")
@click.argument("name")
@click.option("--recipe", metavar="NAME", help="Whose newest result is to be submitted, or a result's folder.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The archive to write, ending in .tar.gz, instead of one in the result's folder.",
)
@click.option(
    "--check",
    "archive",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write nothing: read this .tar.gz archive of result files back.",
)
@data_dir_option
@home_option
@json_option
def submit(
    name: str,
    recipe: str | None,
    output: Path | None,
    archive: Path | None,
    data_dir: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Write an entry to the VOC evaluation server, or check one before it is uploaded.

    NAME is voc2012 or voc2012_action, with its test images on disk when the recipe is evaluated. Without --recipe the
    newest result on that dataset is taken. --check reads names, lines and scores as the server does, whoever wrote
    them, and exits with 1 if something would be refused.

    \b
    Example:
      tb submit voc2012 --recipe voc2012_average_de
      tb submit voc2012 --check results.tar.gz
    """
    if archive is not None and (recipe is not None or output is not None):
        msg = "--check reads an archive, --recipe and --output write one; give the one or the others"
        raise click.UsageError(msg)
    from transferbench.home import Home
    from transferbench.pipeline.datasets import DataOptions

    place, data = Home.at(home), DataOptions(data_dir)
    if archive is not None:
        _check(name, archive, place, data, as_json=as_json)
        return
    from transferbench.pipeline import submit as pipeline

    written = pipeline.submit(name, recipe, place, data, output)
    row = [str(written.archive), written.sha256, str(written.result)]
    print_table(("archive", "sha256", "result"), [row], as_json=as_json)
    click.echo(
        "next: upload it at http://host.robots.ox.ac.uk:8080/ with 500 characters or more on the method", err=True
    )


def _check(name: str, archive: Path, place: "Home", data: "DataOptions", *, as_json: bool) -> None:
    from transferbench.pipeline.submit import check_archive

    problems = check_archive(name, archive, place, data)
    if as_json:
        print_json({"archive": str(archive), "good": not problems, "problems": problems})
    elif not problems:
        click.echo(f"{archive}: the server should take it")
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        msg = f"{archive}: {len(problems)} problem(s)\n{listed}"
        raise click.ClickException(msg)
