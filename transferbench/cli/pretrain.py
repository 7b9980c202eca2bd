"""`tb pretrain`."""

from pathlib import Path

import click

from transferbench.cli.options import data_options, device_option, home_option, json_option, recipe_option
from transferbench.cli.terminal import print_json, progress


@click.command()
@recipe_option(required=False, what="pretraining recipe")
@click.option(
    "--net", metavar="NAME", help="Net of Table 1: A, A-LRN, B, C, D or E. Without --recipe: its recipe on ILSVRC-2012."
)
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the recipe's.")
@data_options
@device_option
@home_option
@json_option
def pretrain(
    recipe: str | None,
    net: str | None,
    epochs: int | None,
    seed: int | None,
    data_dir: Path | None,
    limit: int | None,
    device: str,
    home: Path,
    as_json: bool,
) -> None:
    """Pretrain a net on a source dataset.

    A finished run is reused, a stopped one goes on after its last finished epoch.

    \b
    Example:
      tb pretrain --recipe digits_a
    """
    from transferbench.home import Home
    from transferbench.pipeline import pretrain as pipeline
    from transferbench.pipeline.datasets import DataOptions

    name, loaded = pipeline.recipe_for(recipe, net=net, epochs=epochs, seed=seed)
    data = DataOptions(data_dir, limit)
    run, stage = pipeline.pretrain(name, loaded, Home.at(home), device=device, progress=progress(), data=data)
    if as_json:
        print_json(
            {
                "run": str(run.folder),
                "weights": str(run.weights),
                "held_out_accuracy": pipeline.accuracy(run),
                "reused": stage.reused,
            }
        )
    else:
        click.echo(run.weights)
