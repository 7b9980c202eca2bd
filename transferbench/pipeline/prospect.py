"""`tb pretrain --dry-run`: what would be trained, from what, and how long it would take; no run is begun."""

import math
import os
from dataclasses import dataclass

from transferbench.home import Home
from transferbench.pipeline.chain import NONE, Changes, Link
from transferbench.pipeline.datasets import WHOLE, DataOptions
from transferbench.pipeline.pretrain import AS_USUAL, How, chain_runs
from transferbench.pipeline.runs import Run
from transferbench.progress import Progress

_FILES = 3
"""Checkpoints at most: the newest two and the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """One pretraining that would be done, or is.

    Parameters
    ----------
    run : str
        Name of its folder.
    state : str
        ``finished``, ``stopped after step 12``, or ``not begun``.
    net : str
        What is trained.
    start : str
        The run it starts from; empty where weights are drawn at random.
    images, steps : int
        Images of an epoch; steps of all epochs.
    steps_left : int
        0 where it is finished.
    images_per_s : float or None
        Measured on this device, by a few random crops; None where nothing is left.
    hours : float or None
        Of the steps that are left, if images come as fast as the net takes them, looks at held-out images not counted.
    disk_bytes : int
        Of checkpoints, at most.
    """

    run: str
    state: str
    net: str
    start: str
    images: int
    steps: int
    steps_left: int
    images_per_s: float | None
    hours: float | None
    disk_bytes: int


def prospects(
    link: Link,
    home: Home,
    *,
    device: str,
    progress: Progress,
    data: DataOptions = WHOLE,
    changes: Changes = NONE,
    how: How = AS_USUAL,
) -> tuple[Prospect, ...]:
    """Look ahead along a chain of pretrainings.

    Parameters
    ----------
    link, home, device, progress, data, changes, how
        As for `pretrain`. Processes of a torchrun count, but do not talk to each other.

    Returns
    -------
    tuple of Prospect
        In the order in which they would be done.

    Raises
    ------
    DatasetError
        If the images are not there.
    TrainingError
        If a batch does not fit into the memory of the device.
    """
    from transferbench.extraction.engine import choose_device

    links, runs, images = chain_runs(link, home, data, changes, progress)
    chosen = choose_device(device)
    rates: dict[str, float] = {}
    found = []
    for number, (one, run) in enumerate(zip(links, runs, strict=True)):
        source = images.of(one)
        n_images = len(source.training_and_held_out()[0])
        start = runs[number - 1].folder.name if one.recipe.start is not None else ""
        per_epoch = math.ceil(n_images / one.recipe.batch_size)
        steps, done = one.recipe.epochs * per_epoch, _steps_done(run)
        left = 0 if run.finished else steps - done
        spec = one.recipe.net.spec(n_classes=len(source.labels.classes))
        key = f"{spec} {one.recipe.train} {one.recipe.batch_size}"  # the scale of the images changes nothing
        if left and key not in rates:
            rates[key] = _rate(one, run, how, chosen, n_images=n_images, n_classes=len(source.labels.classes))
        rate = rates.get(key) if left else None
        found.append(
            Prospect(
                run=run.folder.name,
                state="finished" if run.finished else f"stopped after step {done:,}" if done else "not begun",
                net=str(spec),
                start=start,
                images=n_images,
                steps=steps,
                steps_left=left,
                images_per_s=rate,
                hours=left / per_epoch * n_images / rate / 3600 if rate else None,
                disk_bytes=_FILES * _checkpoint_bytes(one, len(source.labels.classes)) if left else 0,
            )
        )
    return tuple(found)


def _steps_done(run: Run) -> int:
    from transferbench.training.checkpoint import newest_step

    return newest_step(run.folder) or 0


def _rate(link: Link, run: Run, how: How, device: str, *, n_images: int, n_classes: int) -> float:
    from transferbench.nets.inputs import Classifier
    from transferbench.nets.modules import VGG, initialise
    from transferbench.nets.start import freeze_convolutions
    from transferbench.pipeline.training import execution_of, training_options
    from transferbench.training.estimate import images_per_second
    from transferbench.training.processes import Processes
    from transferbench.types.preprocessing import Preprocessing

    recipe = link.recipe
    net = VGG(recipe.net.spec(n_classes=n_classes), dropout=recipe.dropout)
    initialise(net, recipe.init, recipe.seed)
    if recipe.train == "fc":
        freeze_convolutions(net)
    classifier = Classifier(net, Preprocessing(mean=recipe.mean)).to(device)
    processes = Processes(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    return images_per_second(
        classifier,
        net.spec.crop,
        training_options(recipe),
        execution_of(run, how, device),
        processes,
        n_images=n_images,
    )


def _checkpoint_bytes(link: Link, n_classes: int) -> int:
    """Weights, their momentum, and their average where there is one; all in float32."""
    from transferbench.nets.vgg import n_parameters

    copies = 2 + (link.recipe.modern.ema is not None)
    return 4 * copies * n_parameters(link.recipe.net.spec(n_classes=n_classes))
