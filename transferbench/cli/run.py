"""`tb run`."""

from pathlib import Path
from typing import Any

import click

from transferbench.cli.options import (
    bad_image_option,
    data_options,
    device_option,
    engine_options,
    floor_option,
    home_option,
    json_option,
    solver_option,
)
from transferbench.cli.report import print_report
from transferbench.cli.terminal import progress


@click.command()
@click.argument("recipe")
@floor_option
@solver_option
@data_options
@device_option
@engine_options
@bad_image_option
@home_option
@json_option
def run(
    recipe: str,
    floors: str | None,
    solver: Any,
    data_dir: Path | None,
    limit: int | None,
    device: str,
    engine: Any,
    precision: Any,
    compiled: bool,
    on_bad_image: Any,
    home: Path,
    as_json: bool,
) -> None:
    """Do a whole recipe: pretrain, extract, evaluate, report.

    RECIPE is a shipped name or the path of a YAML file. Every stage that is done already is reused, so the command can
    be stopped and repeated at any time.

    \b
    Example:
      tb run digits_stack
      tb run digits_stack --floor shuffled_labels
    """
    from transferbench.home import Home
    from transferbench.pipeline import run as pipeline
    from transferbench.pipeline.datasets import DataOptions
    from transferbench.pipeline.engines import EngineOptions
    from transferbench.pipeline.floors import with_floors
    from transferbench.recipe.files import load
    from transferbench.recipe.transfer import Recipe

    place, bars = Home.at(home), progress()
    data = DataOptions(data_dir, limit, bars)
    done = pipeline.run(
        recipe, with_floors(load(recipe, Recipe), floors), place,
        device=device, progress=bars, data=data, solver=solver, on_bad_image=on_bad_image,
        engine=EngineOptions(engine=engine, precision=precision, compiled=compiled),
    )  # fmt: skip
    print_report(done, as_json=as_json)
