"""`tb report`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transferbench.cli.options import data_dir_option, home_option, json_option
from transferbench.cli.terminal import print_json, print_text

if TYPE_CHECKING:
    from transferbench.pipeline.report import Report

FORMATS = ("text", "json", "markdown", "csv", "latex", "html")


@click.command(short_help="Show results beside the published numbers, with verdicts.")
@click.argument("results", nargs=-1, metavar="[RESULT]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="What is printed: text; one object (of several results a list) as JSON; tables for a document, a spreadsheet "
    "or a paper; or the whole page.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to a file, not to stdout.")
@click.option("--per-class", is_flag=True, help="In text: the value of every class as well.")
@click.option(
    "--images/--no-images", default=True, show_default=True, help="Show the best and worst test images on the page."
)
@data_dir_option
@home_option
@json_option
def report(
    results: tuple[str, ...],
    form: str,
    output: Path | None,
    per_class: bool,
    images: bool,
    data_dir: Path | None,
    home: Path,
    as_json: bool,
) -> None:
    """Show results beside the published numbers, with a verdict and what was done otherwise.

    RESULT is the folder of a result, or the name of a recipe, whose newest result is meant. Without it the newest
    result of every recipe is shown; a trial (--limit) counts only where there is nothing else. A page to look through
    them all is written as well: report.html, in the folder of a single result, or in the folder of all results. It is
    one file that loads nothing from anywhere. Where that folder cannot be written, `--format html --output FILE` puts
    the page elsewhere.

    \b
    Example:
      tb report digits_stack
      tb report --format latex --output table.tex
    """
    from transferbench.home import Home
    from transferbench.pipeline import report as pipeline
    from transferbench.pipeline.datasets import DataOptions

    place = Home.at(home)
    found = pipeline.reports(place, results, data=DataOptions(data_dir), images=images)
    if as_json or form == "json":
        text = _json([_plain(done) for done in found.reports])
    elif form == "html":
        text = found.html
    else:
        text = found.told(form, per_class=per_class)
    if output is None and form == "text" and not as_json:
        print_text(text)
    elif output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        from transferbench.files import publish

        publish(output, text.encode())
    _say_where(found.page, found.notes)


def print_report(done: "Report", *, as_json: bool) -> None:
    """Print a result: the table or JSON to stdout, the page's place to stderr."""
    if as_json:
        print_json(_plain(done))
    else:
        print_text(done.text)
    _say_where(done.page, done.notes)


def _plain(done: "Report") -> dict[str, Any]:
    comparison = done.comparison and {
        **asdict(done.comparison),
        "difference": done.comparison.difference,
        "within": done.comparison.within,
        "verdict": done.comparison.verdict,
    }
    return {**done.result.model_dump(mode="json"), "comparison": comparison, "folder": str(done.folder)}


def _json(reports: list[dict[str, Any]]) -> str:
    import json

    return json.dumps(reports[0] if len(reports) == 1 else reports, indent=1, allow_nan=False)


def _say_where(page: Path | None, notes: tuple[str, ...]) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=True)
    if page is not None:
        click.echo(f"page: {page}", err=True)
