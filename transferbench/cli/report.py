"""`tb report`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from transferbench.cli.options import home_option, json_option
from transferbench.cli.terminal import print_json

if TYPE_CHECKING:
    from transferbench.pipeline.report import Report


@click.command()
@click.argument("result", required=False)
@home_option
@json_option
def report(result: str | None, home: Path, as_json: bool) -> None:
    """Show a stored result and write its Markdown and HTML pages.

    RESULT is the folder of a result, or the name of a recipe, whose newest result is meant. Without it the newest of
    all is shown.

    \b
    Example:
      tb report digits_stack
    """
    from transferbench.home import Home
    from transferbench.pipeline import report as pipeline

    print_report(pipeline.report(Home.at(home), result), as_json=as_json)


def print_report(done: "Report", *, as_json: bool) -> None:
    """Print a result: the table or JSON to stdout, the page's place to stderr."""
    if as_json:
        comparison = done.comparison and {
            **asdict(done.comparison),
            "difference": done.comparison.difference,
            "within": done.comparison.within,
        }
        print_json({**done.result.model_dump(mode="json"), "comparison": comparison, "folder": str(done.folder)})
    else:
        click.echo(done.text)
    click.echo(f"page: {done.page}", err=True)
