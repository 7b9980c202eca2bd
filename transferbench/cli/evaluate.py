"""`tb evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transferbench.cli.options import (
    bad_image_option,
    data_options,
    device_option,
    engine_options,
    floor_option,
    home_option,
    json_option,
    refuse_spread_extraction,
    solver_option,
    spread_options,
)
from transferbench.cli.report import print_report
from transferbench.cli.terminal import print_json, print_table, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transferbench.pipeline.engines import EngineOptions
    from transferbench.pipeline.many import Extraction, Outcome


@click.command()
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    metavar="NAME",
    help="A shipped recipe (`tb recipes list`), or the path of a YAML file. May be given several times.",
)
@click.option("--all", "dataset", metavar="DATASET", help="All shipped recipes of a dataset.")
@floor_option
@click.option("--extract", "with_extraction", is_flag=True, help="Extract missing descriptors first.")
@solver_option
@data_options
@device_option
@engine_options
@bad_image_option
@spread_options
@home_option
@json_option
def evaluate(
    recipes: tuple[str, ...],
    dataset: str | None,
    floors: str | None,
    with_extraction: bool,
    solver: Any,
    data_dir: Path | None,
    limit: int | None,
    device: str,
    engine: Any,
    precision: Any,
    compiled: bool,
    on_bad_image: Any,
    jobs: int,
    scheduler: str | None,
    home: Path,
    as_json: bool,
) -> None:
    """Train and test the linear SVMs of recipes on cached descriptors.

    Needs no GPU and does not load torch. If descriptors are missing it says which command makes them, or makes them
    itself with --extract. Of several recipes those that can be evaluated are, and a table stands at the end.

    \b
    Example:
      tb evaluate --recipe digits_stack
      tb evaluate --recipe digits_stack --recipe digits_average
      tb evaluate --all digits
    """
    if not recipes and dataset is None:
        msg = "give --recipe, once or several times, or --all DATASET"
        raise click.UsageError(msg)
    spread = refuse_spread_extraction(scheduler, jobs, with_extraction=with_extraction)
    from transferbench.home import Home
    from transferbench.pipeline.datasets import DataOptions
    from transferbench.pipeline.engines import EngineOptions
    from transferbench.pipeline.floors import with_floors
    from transferbench.pipeline.many import Way, evaluate_many, recipes_on
    from transferbench.pipeline.report import report
    from transferbench.recipe.files import load
    from transferbench.recipe.transfer import Recipe

    place, bars = Home.at(home), progress()
    how = EngineOptions(engine=engine, precision=precision, compiled=compiled)
    extraction = how_to_extract(device, on_bad_image, how, wanted=with_extraction)
    names = dict.fromkeys((*recipes, *(recipes_on(dataset) if dataset is not None else ())))
    experiments = {name: with_floors(load(name, Recipe), floors) for name in names}
    way = Way(data_dir=data_dir, limit=limit, solver=solver, floors=floors, strict=len(experiments) == 1)
    if spread:
        from transferbench.pipeline.spread import evaluate_spread

        outcomes = evaluate_spread(experiments, place, way, scheduler=scheduler, jobs=jobs, progress=bars)
    else:
        outcomes = evaluate_many(experiments, place, progress=bars, way=way, extraction=extraction)
    if len(outcomes) == 1 and outcomes[0].folder is not None:
        print_report(report(place, outcomes[0].folder, DataOptions(data_dir)), as_json=as_json)
    else:
        print_outcomes(outcomes, as_json=as_json)


def how_to_extract(device: str, on_bad_image: Any, how: "EngineOptions", *, wanted: bool) -> "Extraction | None":
    """Gather what ``--extract`` goes by; refuse an engine that would be asked for in vain."""
    from transferbench.pipeline.engines import AUTO
    from transferbench.pipeline.many import Extraction

    if not wanted and how != AUTO:
        msg = "--engine, --precision and --compile say how descriptors are extracted; add --extract"
        raise click.UsageError(msg)
    return Extraction(device, on_bad_image, how) if wanted else None


def print_outcomes(outcomes: "Sequence[Outcome]", *, as_json: bool, name: str = "recipe", paired: bool = False) -> None:
    """Print a line per experiment, with its distance to the best if `paired`; then fail if something is missing."""
    from transferbench.pipeline.table import HEAD, PAIRED_HEAD, against_best, lines_of, require_all

    lines = lines_of(outcomes)
    head = (*HEAD, *PAIRED_HEAD) if paired else HEAD
    lines = against_best(outcomes, lines) if paired else lines
    if as_json:
        print_json([line.plain for line in lines])
    elif any(outcome.folder is not None for outcome in outcomes):
        print_table((name, *head), [(line.name, *line.cells) for line in lines], right=head, as_json=False)
    require_all(outcomes)
