"""`tb plan`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transferbench.cli.options import (
    ScalesType,
    data_options,
    device_option,
    engine_options,
    home_option,
    json_option,
)
from transferbench.cli.terminal import print_json, print_text, progress

if TYPE_CHECKING:
    from transferbench.pipeline.outlook import ExtractionOutlook
    from transferbench.types.scales import Scales


@click.command(short_help="Say what is cached, what must be computed, and what it costs.")
@click.argument("recipe", nargs=-1)
@click.option("--dataset", metavar="NAME", help="Instead of recipes: the dataset (`tb datasets list`) ...")
@click.option("--net", default="D", show_default=True, metavar="NAME", help="... the net, or several as D,E ...")
@click.option(
    "--weights", default="default", show_default=True, metavar="WHICH", help="... its weights, as for tb extract ..."
)
@click.option("--scales", type=ScalesType(), metavar="SCALES", help="... short sides in px, as for tb extract ...")
@click.option("--layer", type=click.Choice(["fc7", "fc6", "pool5"]), help="... for nets of Table 1 the layer ...")
@click.option(
    "--region",
    type=click.Choice(["image", "box", "image,box"]),
    default="image",
    show_default=True,
    help="... what the net is shown ...",
)
@click.option(
    "--flip/--no-flip", default=True, show_default=True, help="... and whether to average with the mirrored image."
)
@click.option("--probe/--no-probe", default=True, show_default=True, help="Time a few images per scale on this device.")
@data_options
@device_option
@engine_options
@home_option
@json_option
def plan(
    recipe: tuple[str, ...],
    dataset: str | None,
    net: str,
    weights: str,
    scales: "Scales | None",
    layer: str | None,
    region: Any,
    flip: bool,
    probe: bool,
    data_dir: Path | None,
    limit: int | None,
    device: str,
    engine: Any,
    precision: Any,
    compiled: bool,
    home: Path,
    as_json: bool,
) -> None:
    """Say what is cached, what must be computed, and what it costs, without computing it.

    Of recipes the whole chain: pretraining, descriptors, SVMs and their solver. Of --dataset and --scales the
    descriptors alone. Time comes from a few images through the real engine; everything else is arithmetic.

    \b
    Example:
      tb plan digits_stack
      tb plan --dataset digits --net A --scales 224..352 --no-probe
    """
    if bool(recipe) == (dataset is not None):
        msg = "give either recipes, or --dataset and --scales"
        raise click.UsageError(msg)
    from transferbench.home import Home
    from transferbench.pipeline import outlook
    from transferbench.pipeline.awaited import choose_or_await
    from transferbench.pipeline.datasets import DataOptions
    from transferbench.pipeline.engines import EngineOptions
    from transferbench.pipeline.wanted import parts_of_options
    from transferbench.reporting.outlook import recipe_text

    place, data = Home.at(home), DataOptions(data_dir, limit, progress())
    options = EngineOptions(engine=engine, precision=precision, compiled=compiled)
    how = outlook.ProbeOptions(wanted=probe, device=device, engine=options)
    if dataset is None:
        found = [outlook.recipe_outlook(name, place, data, how) for name in recipe]
        if as_json:
            print_json([asdict(one) for one in found])
        else:
            print_text("\n\n".join(recipe_text(asdict(one)) for one in found))
        return
    if scales is None:
        msg = "--dataset needs --scales, for instance --scales 256..768"
        raise click.UsageError(msg)
    opened, parts = parts_of_options(
        dataset, net, weights, scales,
        flip=flip, home=place, layer=layer, regions=region.split(","), data=data, find=choose_or_await,
    )  # fmt: skip
    print_extraction(outlook.extraction_outlook(parts, opened, place, how), as_json=as_json)


def print_extraction(found: "ExtractionOutlook", *, as_json: bool) -> None:
    """Print what an extraction has before it."""
    from transferbench.reporting.outlook import extraction_text

    if as_json:
        print_json(asdict(found))
    else:
        print_text(extraction_text(asdict(found)))
