"""`tb results`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from transferbench.cli.options import home_option, json_option
from transferbench.cli.terminal import print_json, print_table, print_text

if TYPE_CHECKING:
    from datetime import datetime


@click.group()
def results() -> None:
    """List, show, compare, copy and delete stored results."""


@results.command("list")
@click.option("--recipe", metavar="NAME", help="Only of this recipe.")
@click.option("--dataset", metavar="NAME", help="Only on this dataset.")
@click.option("--net", metavar="NAME", help="Only with this net.")
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="Only of this day and later, as 2026-01-31."
)
@home_option
@json_option
def list_stored(
    recipe: str | None, dataset: str | None, net: str | None, since: "datetime | None", home: Path, as_json: bool
) -> None:
    """List results, oldest first.

    \b
    Example:
      tb results list --dataset digits
    """
    from transferbench.home import Home
    from transferbench.pipeline.results import stored
    from transferbench.reporting.tables import percent, percents

    day = None if since is None else since.strftime("%Y-%m-%d")
    found = stored(Home.at(home), recipe=recipe, dataset=dataset, net=net, since=day)
    if not found:
        click.echo("no result fits; tb results list shows all, tb run makes one", err=True)
    if as_json:
        print_json([one.plain() for one in found])
        return
    rows = [
        [
            one.result.created,
            one.result.recipe_name,
            one.result.dataset,
            one.nets,
            percent(one.scores.mean, one.scores.std) + (" TRIAL" if one.result.limit is not None else ""),
            percents(one.scores.interval),
            str(one.folder),
        ]
        for one in found
    ]
    print_table(
        ("created", "recipe", "dataset", "nets", "ours", "95% interval", "folder"),
        rows,
        right=("ours", "95% interval"),
        as_json=False,
    )


@results.command("show")
@click.argument("result")
@home_option
@json_option
def show_result(result: str, home: Path, as_json: bool) -> None:
    """Show a result without writing its pages.

    RESULT is a folder (its name will do), or a recipe whose newest result is meant.

    \b
    Example:
      tb results show digits_stack
    """
    from transferbench.home import Home
    from transferbench.reporting.result import find_result, load_result

    folder = find_result(Home.at(home).results, result)
    found = load_result(folder)
    if as_json:
        print_json(found.model_dump(mode="json") | {"folder": str(folder)})
        return
    from transferbench.pipeline.many import Outcome
    from transferbench.pipeline.table import HEAD, lines_of

    (line,) = lines_of([Outcome(name=found.recipe_name, folder=folder, missing=())])
    print_table(("recipe", *HEAD), [(line.name, *line.cells)], right=HEAD, as_json=False)
    click.echo(f"{found.metric} on {found.dataset}, {found.created}\n{folder}", err=True)


@results.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="RESULT RESULT...")
@home_option
@json_option
def compare(names: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Compare results with the first: what went in differently, then which number is higher, and how surely.

    A RESULT is a folder (its name will do), or a recipe whose newest result is meant. Results on the same test images
    are compared image by image: a 95% interval of the difference, a paired bootstrap, and a permutation test with
    Holm's correction.

    \b
    Example:
      tb results compare digits_stack digits_average
    """
    if len(names) < 2:
        msg = "give two results or more"
        raise click.UsageError(msg)
    from transferbench.home import Home
    from transferbench.pipeline.results import compare_results

    first, compared = compare_results(Home.at(home), names)
    if as_json:
        print_json(
            {
                "first": str(first.folder),
                "others": [
                    {
                        "result": str(one.other.folder),
                        "differences": [dict(zip(("input", "first", "this"), d, strict=True)) for d in one.differences],
                        "paired": None if one.paired is None else asdict(one.paired),
                        "p_holm": one.p_holm,
                    }
                    for one in compared
                ],
            }
        )
        return
    from transferbench.reporting.tables import percents

    for one in compared:
        # Two results of the same recipe are told apart by their folders.
        same = first.result.recipe_name == one.other.result.recipe_name
        ours, name = (s.folder.name if same else s.result.recipe_name for s in (first, one.other))
        click.echo(f"{ours} and {name}")
        if one.differences:
            print_table(("what differs", ours, f"{name} "), one.differences, as_json=False)
        else:
            click.echo("nothing that went in differs")
        if one.paired is None:
            print_text("not of the same test images, so their numbers are not compared\n")
            continue
        paired = one.paired
        print_text(
            f"difference {100 * paired.difference:+.2f} points on {paired.n_images} images, 95% interval "
            f"{percents(paired.interval)}; p = {paired.p_permutation:.4f} (permutation, {one.p_holm:.4f} with Holm's "
            f"correction), {paired.p_bootstrap:.4f} (paired bootstrap)\n"
        )


@results.command("export")
@click.argument("result")
@click.argument("folder", type=click.Path(path_type=Path))
@home_option
@json_option
def export_result(result: str, folder: Path, home: Path, as_json: bool) -> None:
    """Copy a result, with its test scores and pages, into a new folder.

    \b
    Example:
      tb results export digits_stack ./digits_stack_result
    """
    from transferbench.home import Home
    from transferbench.pipeline.results import export

    copy = export(Home.at(home), result, folder)
    print_table(("copy",), [[str(copy)]], as_json=as_json)


@results.command("rm")
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
@json_option
def remove_results(folders: tuple[str, ...], yes: bool, home: Path, as_json: bool) -> None:
    """Delete results, by their folders (`tb results list`).

    The name of a folder will do. A recipe is not taken: it may have several results.

    \b
    Example:
      tb results rm ./results/digits_stack/20260101T000000Z-01234567 --yes
    """
    from transferbench.home import Home
    from transferbench.pipeline.results import deletable, delete

    found = deletable(Home.at(home), folders)
    if not yes:
        listed = "\n".join(map(str, found))
        click.confirm(
            f"{listed}\nDelete {'this result' if len(found) == 1 else 'these results'}?", abort=True, err=True
        )
    delete(found)
    print_table(("deleted",), [[str(folder)] for folder in found], as_json=as_json)
