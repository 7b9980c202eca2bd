"""One pretraining: from its recipe and images to a finished run."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from transferbench import environment
from transferbench.data import Source
from transferbench.data.images import PIXELS_VERSION
from transferbench.errors import WeightsError
from transferbench.files import publish
from transferbench.nets.importing import stamped
from transferbench.nets.inputs import Classifier
from transferbench.nets.modules import VGG, initialise
from transferbench.nets.start import copy_layers, freeze_convolutions
from transferbench.nets.weights import from_net, load_weights, save_weights
from transferbench.pipeline.chain import Link
from transferbench.pipeline.checkpointed import weights_of_checkpoint
from transferbench.pipeline.crops import default_workers, pixels_of, training_crops
from transferbench.pipeline.runs import TRAINING_VERSION, Run
from transferbench.pretraining import FIRST_AND_LAST
from transferbench.progress import Progress
from transferbench.recipe.files import to_dict
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.training.augment import AugmentOptions
from transferbench.training.checkpoint import BEST, remove_checkpoints
from transferbench.training.curves import curves
from transferbench.training.estimate import images_per_second, told_duration
from transferbench.training.loop import train
from transferbench.training.options import Execution, TrainingOptions, choose_precision
from transferbench.training.processes import Processes
from transferbench.training.watch import Epoch, Nobody
from transferbench.types.preprocessing import Preprocessing

if TYPE_CHECKING:
    from transferbench.pipeline.pretrain import How


def train_link(
    link: Link,
    run: Run,
    start: Run | None,
    source: Source,
    how: "How",
    *,
    device: str,
    progress: Progress,
    processes: Processes,
) -> None:
    """Train until the run is finished.

    Parameters
    ----------
    link : Link
        What to train.
    run : Run
        Its folder; may hold checkpoints.
    start : Run or None
        Finished; whose weights are copied.
    source : Source
        The images.
    how : How
        Precision, memory, checkpoints.
    device : str
        A torch device.
    progress : Progress
        Told what happens.
    processes : Processes
        All of them call this.

    Raises
    ------
    TrainingError
        If the loss diverges.
    WeightsError
        If the weights to start from do not fit.
    """
    recipe = link.recipe
    began = time.monotonic()
    preprocessing = Preprocessing(mean=recipe.mean, interpolation=recipe.interpolation)
    net, started = _net(recipe, start, n_classes=len(source.labels.classes))
    origin: dict[str, Any] = {"kind": "run", "recipe": run.name, "run": run.folder.name, "training": to_dict(recipe)}
    origin |= {"limit": source.limit} if source.limit is not None else {}
    origin |= {"start": started} if started else {}
    origin |= {"pixels": pixels} if (pixels := pixels_of(source)) else {}
    execution = execution_of(run, how, device)
    options = training_options(recipe)
    training_ids, held_out_ids = source.training_and_held_out()
    epochs = f"{recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''}"
    progress.say(
        f"pretraining {net.spec} on {len(training_ids):,} images of {recipe.dataset} for {epochs} on {device}"
        + (f", {processes.world} processes" if processes.world > 1 else "")
    )
    if started:
        progress.say(f"starting from {started['run']}: {', '.join(started['layers'])}")
    classifier = Classifier(net, preprocessing).to(device)
    rate = images_per_second(classifier, net.spec.crop, options, execution, processes, n_images=len(training_ids))
    duration = told_duration(options.epochs * len(training_ids) / rate)
    progress.say(f"about {duration} at {rate:,.0f} images/s, if the images come as fast")
    history, result = train(
        classifier,
        _crops(source, training_ids, recipe, how, execution, processes, exact=False),
        _crops(source, held_out_ids, recipe, how, execution, processes, exact=True),
        options,
        execution,
        progress=progress,
        watch=curves(run.folder, tensorboard=how.tensorboard) if processes.first else Nobody(),
        processes=processes,
        about={
            "net": asdict(net.spec),
            "preprocessing": asdict(preprocessing),
            "classes": list(source.labels.classes),
            "origin": origin,
        },
    )
    if processes.first:
        _keep_best(run, history, progress)
        origin["held_out_accuracy"] = history[-1].accuracy
        trained: VGG = result.net  # type: ignore[assignment]  # of the classifier, or of its average
        save_weights(run.weights, stamped(from_net(trained, preprocessing, source.labels.classes, origin)))
        _finish(run, recipe, source, history, execution, processes, seconds=time.monotonic() - began)
        progress.say(
            f"wrote {run.weights} ({history[-1].accuracy:.1%} held-out accuracy, top-5 {history[-1].top5:.1%})"
        )
    processes.wait()


def _keep_best(run: Run, history: tuple[Epoch, ...], progress: Progress) -> None:
    """Keep the weights of the best epoch; those of the last are what the run is for."""
    best = max(history, key=lambda line: line.accuracy)  # the first of several, as the loop keeps it
    try:
        weights = weights_of_checkpoint(run.folder / BEST)
    except WeightsError as problem:
        progress.say(f"only the last weights are kept, not those of epoch {best.epoch}: {problem}")
        return
    save_weights(run.best_weights, weights)
    progress.say(f"the best epoch was {best.epoch} of {len(history)} ({best.accuracy:.1%}): {run.best_weights}")


def _net(recipe: PretrainRecipe, start: Run | None, *, n_classes: int) -> tuple[VGG, dict[str, Any] | None]:
    """Make the net as it is before the first step, and tell where its weights come from."""
    net = VGG(recipe.net.spec(n_classes=n_classes), dropout=recipe.dropout)
    initialise(net, recipe.init, recipe.seed)
    told = None
    if start is not None and recipe.start is not None:
        weights = load_weights(start.weights)
        layers = copy_layers(net, weights, FIRST_AND_LAST if recipe.start.layers == "first_and_last" else None)
        told = {"run": start.folder.name, "weights_sha256": weights.header.sha256, "layers": list(layers)}
    if recipe.train == "fc":
        freeze_convolutions(net)
    return net, told


def execution_of(run: Run, how: "How", device: str) -> Execution:
    """Say where and on what a run is trained.

    Parameters
    ----------
    run : Run
        Its folder gets the checkpoints.
    how : How
        As the command line says.
    device : str
        A torch device.

    Returns
    -------
    Execution
        With a precision that the device has.
    """
    return Execution(
        folder=run.folder,
        device=device,
        precision=choose_precision(how.precision, device),
        compiled=how.compiled,
        images_at_once=how.images_at_once,
        save_every_s=how.save_every_s,
        save_every_steps=how.save_every_steps,
    )


def training_options(recipe: PretrainRecipe) -> TrainingOptions:
    """Take from a recipe what the loop needs.

    Parameters
    ----------
    recipe : PretrainRecipe
        Complete.

    Returns
    -------
    TrainingOptions
        Every value can change the weights.
    """
    return TrainingOptions(
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        schedule=recipe.schedule,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        bias_rate=recipe.bias_rate,
        bias_decay=recipe.bias_decay,
        image_draws=recipe.dropout_masks == "image",
        label_smoothing=recipe.modern.label_smoothing,
        ema=recipe.modern.ema,
        seed=recipe.seed,
    )


def _crops(
    source: Source,
    ids: tuple[str, ...],
    recipe: PretrainRecipe,
    how: "How",
    execution: Execution,
    processes: Processes,
    *,
    exact: bool,
) -> Any:
    gpu = execution.device.startswith("cuda")
    workers = default_workers(device=execution.device, processes=processes.world)
    return training_crops(
        source,
        ids,
        AugmentOptions(
            crop=recipe.net.crop,
            short_sides=recipe.short_sides,
            flip=recipe.flip,
            colour_shift=recipe.colour_shift,
            seed=recipe.seed,
        ),
        recipe.interpolation,
        exact=exact,
        workers=workers if how.workers is None else how.workers,
        pin=gpu,
    )


def _finish(
    run: Run,
    recipe: PretrainRecipe,
    source: Source,
    history: tuple[Epoch, ...],
    execution: Execution,
    processes: Processes,
    *,
    seconds: float,
) -> None:
    """Write what the run was, last of all; then its checkpoints are of no more use."""
    document = {
        "format": "transferbench.run",
        "version": 1,
        "recipe_name": run.name,
        "recipe": to_dict(recipe),
        "pixels_version": PIXELS_VERSION,
        "training_version": TRAINING_VERSION,
        "limit": source.limit,
        "pixels": pixels_of(source),
        "history": [asdict(line) for line in history],
        "device": execution.device,
        "precision": execution.precision,
        "processes": processes.world,
        "seconds": round(seconds, 1),
        "environment": environment.describe(),
        "git_commit": environment.git_commit(),
    }
    publish(run.document, (json.dumps(document, indent=1) + "\n").encode())
    remove_checkpoints(run.folder)
