"""`tb runs`."""

from pathlib import Path

import click

from transferbench.cli.options import home_option, json_option
from transferbench.cli.terminal import print_json, print_table


@click.group()
def runs() -> None:
    """List, show and delete pretraining runs."""


@runs.command("list")
@home_option
@json_option
def list_runs(home: Path, as_json: bool) -> None:
    """List pretraining runs: finished, stopped, or being trained now.

    \b
    Example:
      tb runs list
    """
    from transferbench.home import Home
    from transferbench.pipeline.browse import stored_runs

    found = stored_runs(Home.at(home))
    rows = [
        [
            run.name,
            run.state,
            len(run.epochs.get("epoch", ())),
            _percent(run.last("accuracy"), as_json=as_json),
            _percent(run.last("top5"), as_json=as_json),
            round(run.n_bytes / 1e6, 1),
        ]
        for run in found
    ]
    head = ("run", "state", "epochs", "top-1 accuracy", "top-5 accuracy", "MB")
    print_table(head, rows, right=head[2:], as_json=as_json)


@runs.command("show")
@click.argument("run", required=False)
@home_option
@json_option
def show_run(run: str | None, home: Path, as_json: bool) -> None:
    """Show a pretraining run and write a page with its curves.

    RUN is a name from the list or its beginning, a recipe (its newest run is meant), or a folder. Without it the newest
    of all is shown. A run may be looked at while it is being trained.

    \b
    Example:
      tb runs show digits_a
    """
    from transferbench.home import Home
    from transferbench.pipeline.browse import find_run, run_document, run_rows, write_run_page

    found = find_run(Home.at(home), run)
    page = write_run_page(found)
    if as_json:
        print_json(run_document(found))
    else:
        print_table((found.name, ""), run_rows(found), as_json=False)
    click.echo(f"page: {page}", err=True)


@runs.command("rm")
@click.argument("run")
@click.option("--yes", is_flag=True, help="Delete; without it the run is only shown.")
@home_option
@json_option
def remove_runs(run: str, yes: bool, home: Path, as_json: bool) -> None:
    """Delete a pretraining run: weights, checkpoints, curves.

    RUN is as for `tb runs show`. A run that is being trained is not deleted.

    \b
    Example:
      tb runs rm digits_a-f07b91c2 --yes
    """
    from transferbench.home import Home
    from transferbench.pipeline.browse import find_run, remove_run

    found = find_run(Home.at(home), run)
    n_bytes = found.n_bytes
    if yes:
        remove_run(found)
    print_table(("run", "bytes", "deleted"), [[found.name, n_bytes, yes if as_json else str(yes)]], as_json=as_json)
    if not yes:
        click.echo("nothing is deleted; --yes does it", err=True)


def _percent(value: float | None, *, as_json: bool) -> float | str | None:
    if as_json or value is None:
        return value if as_json else ""
    return f"{value:.1%}"
