"""The training loop: stochastic gradient descent with momentum on random crops, resumable after every epoch."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferbench.errors import TrainingError
from transferbench.files import publish
from transferbench.progress import Progress
from transferbench.training.augment import centre_crop, generator, random_crop
from transferbench.training.checkpoint import newest_checkpoint, save_checkpoint
from transferbench.types import Int64, UInt8


class LabelledImages(Protocol):
    """Images at the training short side S, with their classes."""

    labels: Int64

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> UInt8:
        """Return an (H, W, 3) image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How to train; every value can change the weights.

    Parameters
    ----------
    crop : int
        Side of the crops in px.
    flip : bool
        Whether crops are mirrored half of the time.
    epochs, batch_size : int
        How long, and on how many images at once.
    learning_rate : float
        At the start.
    drop_after : tuple of int
        Numbers of finished epochs after which the rate is divided by 10.
    momentum, weight_decay : float
        Of the gradient descent; the decay counts biases too.
    seed : int
        Of order, crops and dropout.
    """

    crop: int
    flip: bool
    epochs: int
    batch_size: int
    learning_rate: float
    drop_after: tuple[int, ...]
    momentum: float
    weight_decay: float
    seed: int

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch.

        Parameters
        ----------
        epoch : int
            From 0.

        Returns
        -------
        float
            Divided by 10 at every drop passed.
        """
        return float(self.learning_rate * 0.1 ** sum(epoch >= drop for drop in self.drop_after))


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One line of a run's history.

    Parameters
    ----------
    epoch : int
        From 1.
    loss : float
        Mean cross-entropy over the epoch's crops.
    accuracy : float
        Of the held-out images' centre crops after the epoch, in [0, 1].
    learning_rate : float
        During the epoch.
    """

    epoch: int
    loss: float
    accuracy: float
    learning_rate: float


def train(
    net: nn.Module,
    images: LabelledImages,
    held_out: LabelledImages,
    options: TrainingOptions,
    *,
    folder: Path,
    device: str,
    progress: Progress,
    about: dict[str, Any] | None = None,
) -> tuple[Epoch, ...]:
    """Train a classifier in place, going on from the newest checkpoint if there is one.

    Parameters
    ----------
    net : Module
        Takes (N, crop, crop, 3) bytes, gives (N, K) scores.
    images, held_out : LabelledImages
        To learn from, and to watch.
    options : TrainingOptions
        How.
    folder : Path
        Gets checkpoints and ``metrics.csv``.
    device : str
        A torch device.
    progress : Progress
        Told after every step.
    about : dict, optional
        Plain values kept in every checkpoint, so that it says by itself what net it holds.

    Returns
    -------
    tuple of Epoch
        The whole history, epochs of an earlier part of the run included. On a CPU a resumed run ends with the same bits
        as one that was never stopped.

    Raises
    ------
    TrainingError
        If the loss stops being finite; the last good checkpoint stays.

    References
    ----------
    Simonyan & Zisserman (2015), Sect. 3.1.
    """
    net.to(device)
    optimiser = torch.optim.SGD(
        net.parameters(), lr=options.learning_rate, momentum=options.momentum, weight_decay=options.weight_decay
    )
    torch.manual_seed(options.seed)
    history = _resume(net, optimiser, folder, progress)
    steps = math.ceil(len(images) / options.batch_size)
    with progress.task("pretraining", options.epochs * steps, done=len(history) * steps) as task:
        for epoch in range(len(history), options.epochs):
            rate = options.rate(epoch)
            for group in optimiser.param_groups:
                group["lr"] = rate
            total = 0.0
            for step, batch in enumerate(_batches(len(images), epoch, options)):
                loss = _step(
                    net,
                    optimiser,
                    _crops(images, batch, epoch, options).to(device),
                    torch.from_numpy(images.labels[batch]).to(device),
                )
                if not math.isfinite(loss):
                    msg = (
                        f"the loss became {loss} in epoch {epoch + 1}, step {step + 1} of {steps}, at "
                        f"learning rate {rate:g}.\n"
                        f"  The state after epoch {epoch} is kept in {folder}.\n  Lower learning_rate "
                        "in the recipe, or try init: glorot."
                    )
                    raise TrainingError(msg)
                total += loss * len(batch)
                task.advance(note=f"loss {loss:.3f}" + (f", held-out {history[-1].accuracy:.1%}" if history else ""))
            accuracy = held_out_accuracy(net, held_out, options, device)
            history.append(Epoch(epoch=epoch + 1, loss=total / len(images), accuracy=accuracy, learning_rate=rate))
            _save(net, optimiser, folder, history, about or {})
    return tuple(history)


def held_out_accuracy(net: nn.Module, images: LabelledImages, options: TrainingOptions, device: str) -> float:
    """Measure top-1 accuracy on centre crops.

    Parameters
    ----------
    net : Module
        As for `train`.
    images : LabelledImages
        Every one is counted once.
    options : TrainingOptions
        For crop and batch size.
    device : str
        A torch device.

    Returns
    -------
    float
        In [0, 1].
    """
    net.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(images), options.batch_size):
            rows = range(start, min(start + options.batch_size, len(images)))
            crops = np.stack([centre_crop(images[i], options.crop) for i in rows])
            best = net(torch.from_numpy(crops).to(device)).argmax(dim=1).cpu().numpy()
            right += int((best == images.labels[rows.start : rows.stop]).sum())
    return right / len(images)


def _batches(n_images: int, epoch: int, options: TrainingOptions) -> list[Int64]:
    order = generator(options.seed, epoch, 0xFFFFFFFF).permutation(n_images)
    return [order[start : start + options.batch_size] for start in range(0, n_images, options.batch_size)]


def _crops(images: LabelledImages, batch: Int64, epoch: int, options: TrainingOptions) -> Tensor:
    crops = [
        random_crop(images[i], options.crop, flip=options.flip, random=generator(options.seed, epoch, i))
        for i in map(int, batch)
    ]
    return torch.from_numpy(np.stack(crops))


def _step(net: nn.Module, optimiser: torch.optim.Optimizer, crops: Tensor, labels: Tensor) -> float:
    net.train()
    loss = F.cross_entropy(net(crops), labels)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.item())


def _save(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    folder: Path,
    history: Sequence[Epoch],
    about: dict[str, Any],
) -> None:
    state: dict[str, Any] = {
        "net": net.state_dict(),
        "optimiser": optimiser.state_dict(),
        "random": torch.get_rng_state(),
        "history": [asdict(line) for line in history],
        "about": about,
    }
    save_checkpoint(folder, len(history), state)
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(asdict(history[0])))
    writer.writeheader()
    writer.writerows(asdict(line) for line in history)
    publish(folder / "metrics.csv", table.getvalue().encode())


def _resume(net: nn.Module, optimiser: torch.optim.Optimizer, folder: Path, progress: Progress) -> list[Epoch]:
    state = newest_checkpoint(folder, progress)
    if state is None:
        return []
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    torch.set_rng_state(state["random"])
    history = [Epoch(**line) for line in state["history"]]
    progress.say(f"resuming after epoch {len(history)} from {folder}")
    return history
