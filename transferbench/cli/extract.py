"""`tb extract`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transferbench.cli.options import (
    ScalesType,
    bad_image_option,
    data_options,
    device_option,
    engine_options,
    floor_option,
    home_option,
    json_option,
    recipe_option,
)
from transferbench.cli.plan import print_extraction
from transferbench.cli.terminal import is_first_process, print_json, print_table, progress

if TYPE_CHECKING:
    from transferbench.types.scales import Scales


@click.command()
@recipe_option()
@floor_option
@click.option("--dataset", metavar="NAME", help="Instead of a recipe: the dataset (`tb datasets list`) ...")
@click.option(
    "--net",
    default="D",
    show_default=True,
    metavar="NAME",
    help="... the net of Table 1, timm:NAME, torchvision:NAME or a plugin's; several as D,E ...",
)
@click.option(
    "--weights",
    default="default",
    show_default=True,
    metavar="WHICH",
    help="... its weights: default, a name (`tb weights list`), run:RECIPE, random[:SEED] or a file ...",
)
@click.option(
    "--scales",
    type=ScalesType(),
    metavar="SCALES",
    help="... short sides in px: 256..768 (steps of 128), 64..128:32 or 256,384 ...",
)
@click.option(
    "--layer",
    type=click.Choice(["fc7", "fc6", "pool5"]),
    help="... for nets of Table 1 the layer, after its ReLU; fc7 unless said otherwise ...",
)
@click.option(
    "--region",
    type=click.Choice(["image", "box", "image,box"]),
    default="image",
    show_default=True,
    help="... what the net is shown: the whole image, the box of every person (voc2012_action), or both ...",
)
@click.option(
    "--flip/--no-flip", default=True, show_default=True, help="... and whether to average with the mirrored image."
)
@click.option("--dry-run", is_flag=True, help="Compute nothing but a short probe: say what would be done (tb plan).")
@data_options
@device_option
@bad_image_option
@engine_options
@home_option
@json_option
def extract(
    recipe: str | None,
    floors: str | None,
    dataset: str | None,
    net: str,
    weights: str,
    scales: "Scales | None",
    layer: str | None,
    region: Any,
    flip: bool,
    dry_run: bool,
    data_dir: Path | None,
    limit: int | None,
    device: str,
    on_bad_image: Any,
    engine: Any,
    precision: Any,
    compiled: bool,
    home: Path,
    as_json: bool,
) -> None:
    """Extract dense descriptors into the cache.

    Several processes may share the work: start the command again, here or on a machine that sees the same folder, or
    use torchrun, whose processes take a GPU each.

    Either all that a recipe needs (--recipe), or nets at some scales (--dataset, --scales). What is in the cache is
    not computed again.

    \b
    Example:
      tb extract --recipe digits_stack
      tb extract --dataset digits --net A --scales 64..128:32 --no-flip
    """
    if (recipe is None) == (dataset is None):
        msg = "give either --recipe, or --dataset and --scales"
        raise click.UsageError(msg)
    from transferbench.home import Home
    from transferbench.pipeline import extract as pipeline
    from transferbench.pipeline import wanted
    from transferbench.pipeline.awaited import choose_or_await, random_or_await
    from transferbench.pipeline.datasets import DataOptions
    from transferbench.pipeline.engines import EngineOptions
    from transferbench.pipeline.outlook import ProbeOptions, extraction_outlook
    from transferbench.pipeline.weights import choose, draw

    place, bars = Home.at(home), progress()
    find, drawn = (choose_or_await, random_or_await) if dry_run else (choose, draw)
    data = DataOptions(data_dir, limit, bars)
    if dataset is None:
        opened, parts = wanted.parts_of_recipe(str(recipe), place, data, floors, find=find, drawn=drawn)
    elif scales is None:
        msg = "--dataset needs --scales, for instance --scales 256..768"
        raise click.UsageError(msg)
    else:
        opened, parts = wanted.parts_of_options(
            dataset, net, weights, scales,
            flip=flip, home=place, layer=layer, regions=region.split(","), data=data, find=find,
        )  # fmt: skip
    how = EngineOptions(engine=engine, precision=precision, compiled=compiled)
    if dry_run:
        probed = ProbeOptions(device=device, engine=how)
        print_extraction(extraction_outlook(parts, opened, place, probed), as_json=as_json)
        return
    done = pipeline.extract(parts, opened, device=device, progress=bars, engine=how, on_bad_image=on_bad_image)
    head = ("features", "short side", "images", "seconds", "block")
    rows = [
        (part.name, block.spec.short_side_px, len(block.ids), f"{done.time_of(block).seconds:,.1f}", str(block.folder))
        for part in parts
        for block in part.blocks
    ]
    if not is_first_process():
        return
    if as_json:
        times = [done.time_of(block).to_dict() for part in parts for block in part.blocks]
        keys = ("features", "short_side", "images", "block")
        print_json(
            [dict(zip(keys, (*row[:3], row[4]), strict=True)) | time for row, time in zip(rows, times, strict=True)]
        )
    else:
        print_table(head, rows, right=head[1:4], as_json=False)
