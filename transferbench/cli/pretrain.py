"""`tb pretrain`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from transferbench.cli.options import data_options, device_option, home_option, json_option, recipe_option
from transferbench.cli.terminal import is_first_process, print_json, print_table, progress

if TYPE_CHECKING:
    from transferbench.pipeline.prospect import Prospect


@click.command(short_help="Pretrain a net, and before it the nets it begins with.")
@recipe_option("pretraining recipe, or `paper` with --net")
@click.option(
    "--net",
    metavar="NAME",
    help="Net of Table 1: A, A-LRN, B, C, D or E; or B-5x5. Without --recipe: its recipe on ILSVRC-2012.",
)
@click.option("--scale", metavar="S", help="Of the paper's recipes of --net: 256 (default), 384 or 256..512.")
@click.option("--dataset", metavar="NAME", help="Instead of the recipe's, for instance imagefolder:PATH.")
@click.option("--width", type=float, help="Factor on the width of every net, for instance 0.25.")
@click.option("--crop", type=int, metavar="PX", help="Side of the crops instead of 224; short sides change with it.")
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images per step, over all processes.")
@click.option("--learning-rate", type=float, help="At the start, of the last pretraining where there are several.")
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the recipe's.")
@click.option("--schedule", type=click.Choice(("cosine",)), help="Not the paper's: the rate falls along a cosine.")
@click.option("--label-smoothing", type=float, help="Not the paper's: part of the target spread over all classes.")
@click.option("--ema", type=float, metavar="DECAY", help="Not the paper's: keep a moving average of the weights.")
@click.option(
    "--precision",
    type=click.Choice(("auto", "float32", "bfloat16", "float16")),
    default="auto",
    show_default=True,
    help="Of the passes through the net; auto is bfloat16 on a GPU that has it, else float32.",
)
@click.option("--compile", "compiled", is_flag=True, help="Let torch compile the net first.")
@click.option(
    "--images-at-once",
    type=click.IntRange(min=1),
    help="The most that one process takes at once; gradients are added up to the batch. For small GPUs.",
)
@click.option("--workers", type=click.IntRange(min=0), help="Processes that decode images, per training process.")
@click.option(
    "--save-every",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="MINUTES",
    help="Between checkpoints, besides one after every epoch.",
)
@click.option("--save-every-steps", type=click.IntRange(min=1), metavar="N", help="Checkpoints by steps, too.")
@click.option(
    "--resume/--fresh",
    default=True,
    show_default=True,
    help="Go on after the newest checkpoint of a stopped run; or delete its checkpoints and train anew.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be trained, on what, and for how long.")
@click.option(
    "--tensorboard/--no-tensorboard",
    default=None,
    help="Write TensorBoard's event files; as long as nothing is said, where it is installed.",
)
@data_options
@device_option
@home_option
@json_option
def pretrain(
    recipe: str | None,
    net: str | None,
    scale: str | None,
    precision: str,
    compiled: bool,
    images_at_once: int | None,
    workers: int | None,
    save_every: float,
    save_every_steps: int | None,
    resume: bool,
    dry_run: bool,
    tensorboard: bool | None,
    data_dir: Path | None,
    limit: int | None,
    device: str,
    home: Path,
    as_json: bool,
    **changes: Any,
) -> None:
    """Pretrain a net on a source dataset, and before it all nets that it starts from.

    The same command always resumes: a finished run is reused, a stopped or killed one goes on after its newest
    checkpoint, a chain with the first net that is missing. --fresh starts the last net anew. Several GPUs: start it by
    torchrun.

    \b
    Example:
      tb pretrain --net E
      tb pretrain --net E --recipe paper
      tb pretrain --net A --width 0.25 --dataset imagefolder:PATH
      torchrun --nproc-per-node 8 --max-restarts 3 -m transferbench pretrain --net E
    """
    from transferbench.home import Home
    from transferbench.pipeline import pretrain as pipeline
    from transferbench.pipeline.chain import Changes, Link, recipe_for
    from transferbench.pipeline.datasets import DataOptions
    from transferbench.pipeline.prospect import prospects

    how = pipeline.How(
        precision=precision,
        compiled=compiled,
        images_at_once=images_at_once,
        workers=workers,
        save_every_s=60 * save_every,
        save_every_steps=save_every_steps,
        fresh=not resume,
        tensorboard=tensorboard,
    )
    arguments: Any = {
        "device": device,
        "progress": progress(),
        "data": DataOptions(data_dir, limit),
        "changes": Changes(**changes),
        "how": how,
    }
    link = Link(*recipe_for(recipe, net=net, scale=scale))
    if dry_run:
        _show(prospects(link, Home.at(home), **arguments), as_json=as_json)
        return
    run, stage = pipeline.pretrain(link, Home.at(home), **arguments)
    if not is_first_process():
        return
    if as_json:
        print_json(
            {
                "run": str(run.folder),
                "weights": str(run.weights),
                "best_weights": str(run.best_weights) if run.best_weights.is_file() else None,
                "held_out_accuracy": pipeline.accuracy(run),
                "reused": stage.reused,
            }
        )
    else:
        click.echo(run.weights)


def _show(found: "tuple[Prospect, ...]", *, as_json: bool) -> None:
    if not is_first_process():
        return
    if as_json:
        print_json([asdict(one) for one in found])
        return
    head = ("run", "state", "net", "starts from", "images", "steps left", "images/s", "hours", "checkpoints, GB")
    rows = [
        [
            one.run,
            one.state,
            one.net,
            one.start,
            one.images,
            one.steps_left,
            "" if one.images_per_s is None else f"{one.images_per_s:,.0f}",
            "" if one.hours is None else f"{one.hours:,.1f}",
            f"{one.disk_bytes / 1e9:.1f}",
        ]
        for one in found
    ]
    print_table(head, rows, right=head[4:], as_json=False)
