"""`tb sweep`."""

import shlex
from pathlib import Path
from typing import Any

import click

from transferbench.cli.evaluate import how_to_extract, print_outcomes
from transferbench.cli.options import (
    bad_image_option,
    data_options,
    device_option,
    engine_options,
    home_option,
    json_option,
    refuse_spread_extraction,
    solver_option,
    spread_options,
)
from transferbench.cli.terminal import progress


@click.command()
@click.argument("recipe")
@click.option(
    "--set",
    "settings",
    multiple=True,
    required=True,
    metavar="KEY=VALUE,VALUE",
    help="What to vary: aggregate, l2, scales, nets, weights, layer, flip, regions or loss. Values are divided by "
    "commas; the parts of one value are joined by +, as in scales=256,384+512 or nets=D,D+E.",
)
@click.option("--extract", "with_extraction", is_flag=True, help="Extract missing descriptors first.")
@solver_option
@data_options
@device_option
@engine_options
@bad_image_option
@spread_options
@home_option
@json_option
def sweep(
    recipe: str,
    settings: tuple[str, ...],
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
    """Evaluate every combination of settings of a recipe.

    Aggregation works on cached descriptors, so no image is looked at again: combinations whose descriptors are there
    are evaluated, for the others the commands that extract them are named. RECIPE is a shipped name or the path of a
    YAML file; every combination is a result of its own, named after what was set. All are held against the best one
    image by image: the difference and the p value of a permutation test, corrected for their number (Holm).

    \b
    Example:
      tb sweep digits_stack --set aggregate=stack,average,max --set scales=64,96+128
    """
    spread = refuse_spread_extraction(scheduler, jobs, with_extraction=with_extraction)
    from transferbench.home import Home
    from transferbench.pipeline.engines import EngineOptions
    from transferbench.pipeline.evaluate import name_of
    from transferbench.pipeline.many import Way, evaluate_many
    from transferbench.pipeline.sweep import combinations, swept_name
    from transferbench.recipe.files import load
    from transferbench.recipe.transfer import Recipe

    place, bars = Home.at(home), progress()
    how = EngineOptions(engine=engine, precision=precision, compiled=compiled)
    extraction = how_to_extract(device, on_bad_image, how, wanted=with_extraction)
    combined = combinations(load(recipe, Recipe), settings)
    experiments = {swept_name(name_of(recipe), chosen): changed for chosen, changed in combined.items()}
    again = shlex.join(["tb", "sweep", recipe, *(f"--set={text}" for text in settings), "--extract"])
    way = Way(data_dir=data_dir, limit=limit, solver=solver, again=again)
    if spread:
        from transferbench.pipeline.spread import evaluate_spread

        outcomes = evaluate_spread(experiments, place, way, scheduler=scheduler, jobs=jobs, progress=bars)
    else:
        outcomes = evaluate_many(experiments, place, progress=bars, way=way, extraction=extraction)
    print_outcomes(outcomes, as_json=as_json, name="combination", paired=True)
