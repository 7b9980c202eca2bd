"""`tb submit`."""

from pathlib import Path

import click

from transferbench.cli.options import data_dir_option, home_option, json_option
from transferbench.cli.terminal import print_json


@click.command()
@click.argument("name")
@click.option(
    "--check",
    "archive",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The .tar.gz archive of result files to read back.",
)
@data_dir_option
@home_option
@json_option
def submit(name: str, archive: Path, data_dir: Path | None, home: Path, as_json: bool) -> None:
    """Check an entry to the VOC evaluation server before it is uploaded.

    NAME is voc2012 or voc2012_action, with its test images on disk. Names, lines and scores are read as the server
    reads them; exits with 1 if something would be refused.

    \b
    Example:
      tb submit voc2012 --check results.tar.gz
    """
    from transferbench.home import Home
    from transferbench.pipeline.datasets import DataOptions
    from transferbench.pipeline.submit import check_archive

    problems = check_archive(name, archive, Home.at(home), DataOptions(data_dir))
    if as_json:
        print_json({"archive": str(archive), "good": not problems, "problems": problems})
    elif not problems:
        click.echo(f"{archive}: the server should take it")
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        msg = f"{archive}: {len(problems)} problem(s)\n{listed}"
        raise click.ClickException(msg)
