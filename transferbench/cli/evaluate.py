"""`tb evaluate`."""

from pathlib import Path
from typing import Any

import click

from transferbench.cli.options import (
    bad_image_option,
    data_options,
    device_option,
    home_option,
    json_option,
    recipe_option,
    solver_option,
)
from transferbench.cli.report import print_report
from transferbench.cli.terminal import progress


@click.command()
@recipe_option(required=True)
@click.option("--extract", "with_extraction", is_flag=True, help="Extract missing descriptors first.")
@solver_option
@data_options
@device_option
@bad_image_option
@home_option
@json_option
def evaluate(
    recipe: str,
    with_extraction: bool,
    solver: Any,
    data_dir: Path | None,
    limit: int | None,
    device: str,
    on_bad_image: Any,
    home: Path,
    as_json: bool,
) -> None:
    """Train and test the linear SVMs of a recipe on cached descriptors.

    Needs no GPU and does not load torch. If descriptors are missing it says which command makes them, or makes them
    itself with --extract.

    \b
    Example:
      tb evaluate --recipe digits_stack
    """
    from transferbench.home import Home
    from transferbench.pipeline.check import check
    from transferbench.pipeline.datasets import DataOptions, target
    from transferbench.pipeline.evaluate import evaluate_recipe
    from transferbench.pipeline.extract import extract_recipe
    from transferbench.pipeline.report import report
    from transferbench.recipe import Recipe, load

    loaded, place, bars = load(recipe, Recipe), Home.at(home), progress()
    check(loaded)
    dataset = target(loaded.dataset, place, DataOptions(data_dir, limit, bars))
    before = []
    if with_extraction:
        stage = extract_recipe(loaded, dataset, place, device=device, progress=bars, on_bad_image=on_bad_image)
        before.append(stage)
    folder, _ = evaluate_recipe(recipe, loaded, dataset, place, progress=bars, before=before, solver=solver)
    print_report(report(place, folder), as_json=as_json)
