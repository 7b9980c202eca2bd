"""`tb pretrain`: a recipe and a source dataset → weights."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from transferbench import environment
from transferbench.data import Source
from transferbench.data.images import rescale
from transferbench.errors import DocumentError, TrainingError
from transferbench.files import publish, sweep, writer_lock
from transferbench.home import Home
from transferbench.pipeline.datasets import WHOLE, DataOptions
from transferbench.pipeline.datasets import source as open_source
from transferbench.pipeline.runs import Run
from transferbench.pipeline.stage import Stage, timed
from transferbench.progress import Progress
from transferbench.recipe import PretrainRecipe, load, to_dict
from transferbench.types import Interpolation, Preprocessing, UInt8


def pretrain(
    name: str,
    recipe: PretrainRecipe,
    home: Home,
    *,
    device: str,
    progress: Progress,
    data: DataOptions = WHOLE,
) -> tuple[Run, Stage]:
    """Pretrain a net, unless that very run is finished; go on with one that was stopped.

    Parameters
    ----------
    name : str
        Of the recipe.
    recipe : PretrainRecipe
        What to train, on what, and how.
    home : Home
        The run gets a folder in it.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    progress : Progress
        Told what happens.
    data : DataOptions
        Where the images are, and how many are wanted; a trial is a run of its own.

    Returns
    -------
    tuple of Run and Stage
        A finished run, and whether it was there.

    Raises
    ------
    TrainingError
        If the loss diverges.
    StorageError
        If another process trains this very run.
    """
    run = Run.of(home, name, recipe, limit=data.limit)
    with timed(f"pretrain {name}") as stage:
        if run.finished:
            stage.reused = True
            progress.say(f"reused: pretraining {name}, {accuracy(run):.1%} held-out accuracy ({run.folder})")
        else:
            with writer_lock(run.folder, f"the pretraining run {run.folder.name}"):
                if not run.finished:  # another process may have finished it while this one looked
                    sweep(run.folder)
                    _train(run, recipe, open_source(recipe.dataset, home, data), device, progress)
    return run, stage


def recipe_for(
    name: str | None, *, net: str | None, epochs: int | None, seed: int | None
) -> tuple[str, PretrainRecipe]:
    """Find the recipe that the options of ``tb pretrain`` mean.

    Parameters
    ----------
    name : str or None
        A shipped pretraining recipe or a path; the recipe of `net` on ILSVRC-2012 when None.
    net, epochs, seed : optional
        Replace the recipe's own values.

    Returns
    -------
    tuple of str and PretrainRecipe
        The name, by which the run is called, and the content, checked as a whole.

    Raises
    ------
    DocumentError
        If the replaced values do not make a valid recipe.
    UnknownNameError
        If there is no such recipe.
    """
    if name is None and net is None:
        msg = (
            "which pretraining? Give --recipe NAME (`tb recipes list`), or --net E for the paper's net E on ILSVRC-2012"
        )
        raise DocumentError(msg)
    name = name or f"ilsvrc2012_{str(net).lower().replace('-', '_')}"
    recipe = load(name, PretrainRecipe)
    changes: dict[str, Any] = {key: value for key, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    if net is not None:
        changes["net"] = {**recipe.net.model_dump(), "name": net}
    try:
        return Path(name).stem, PretrainRecipe.model_validate({**recipe.model_dump(), **changes})
    except ValidationError as invalid:
        msg = f"{name} with these options: {'; '.join(str(error['msg']) for error in invalid.errors())}"
        raise DocumentError(msg) from invalid


def accuracy(run: Run) -> float:
    """Return the accuracy that a finished run reached.

    Parameters
    ----------
    run : Run
        Finished.

    Returns
    -------
    float
        Held-out top-1 accuracy after the last epoch, in [0, 1].
    """
    return float(run.summary()["history"][-1]["accuracy"])


def _train(run: Run, recipe: PretrainRecipe, source: Source, device: str, progress: Progress) -> None:
    # torch takes two seconds to import; a finished run never needs it.
    from transferbench.extraction.engine import choose_device
    from transferbench.nets.importing import stamped
    from transferbench.nets.inputs import Classifier
    from transferbench.nets.modules import VGG, initialise
    from transferbench.nets.weights import from_net, save_weights
    from transferbench.training.checkpoint import remove_checkpoints
    from transferbench.training.loop import TrainingOptions, train

    training_ids, held_out_ids = source.training_and_held_out()
    spec = recipe.net.spec(n_classes=len(source.labels.classes))
    preprocessing = Preprocessing(mean=recipe.mean, interpolation=recipe.interpolation)
    chosen = choose_device(device)
    net = VGG(spec, dropout=recipe.dropout)
    initialise(net, recipe.init, recipe.seed)
    options = TrainingOptions(
        crop=spec.crop,
        flip=recipe.flip,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        drop_after=tuple(round(part * recipe.epochs) for part in recipe.learning_rate_drops),
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
    )
    progress.say(
        f"pretraining {spec} on {len(training_ids)} images of {recipe.dataset} for {recipe.epochs} epochs on {chosen}"
    )
    origin: dict[str, Any] = {"kind": "run", "recipe": run.name, "run": run.folder.name, "training": to_dict(recipe)}
    origin |= {"limit": source.limit} if source.limit is not None else {}
    about = {
        "net": asdict(spec),
        "preprocessing": asdict(preprocessing),
        "classes": list(source.labels.classes),
        "origin": origin,
    }
    history = train(
        Classifier(net, preprocessing),
        RescaledImages(source, training_ids, recipe.short_side, recipe.interpolation),
        RescaledImages(source, held_out_ids, recipe.short_side, recipe.interpolation),
        options,
        folder=run.folder,
        device=chosen,
        progress=progress,
        about=about,
    )
    lines = [asdict(line) for line in history]
    origin["held_out_accuracy"] = history[-1].accuracy
    save_weights(run.weights, stamped(from_net(net, preprocessing, source.labels.classes, origin)))
    document = {
        "format": "transferbench.run",
        "version": 1,
        "recipe_name": run.name,
        "recipe": to_dict(recipe),
        "limit": source.limit,
        "history": lines,
        "device": chosen,
        "environment": environment.describe(),
        "git_commit": environment.git_commit(),
    }
    publish(run.document, (json.dumps(document, indent=1) + "\n").encode())
    remove_checkpoints(run.folder)
    progress.say(f"wrote {run.weights} ({history[-1].accuracy:.1%} held-out accuracy)")


class RescaledImages:
    """A source's images at the training short side, rescaled once and kept in memory.

    Parameters
    ----------
    source : Source
        Gives images and labels.
    ids : tuple of str
        Which images.
    short_side_px : int
        S.
    interpolation : {"bicubic", "bilinear"}
        Of the rescaling.

    Raises
    ------
    TrainingError
        If there is no image.
    """

    def __init__(self, source: Source, ids: tuple[str, ...], short_side_px: int, interpolation: Interpolation) -> None:
        if not ids:
            msg = f"{source.record.name} has no images to train on or to hold out"
            raise TrainingError(msg)
        self.labels = source.labels.of(ids).astype(np.int64)
        self._images = [rescale(source.image(image_id), short_side_px, interpolation) for image_id in ids]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> UInt8:
        return self._images[index]
