"""Which images make up which step, which of them are whose, and the random number of each."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from transferbench.training.augment import generator
from transferbench.training.processes import Processes
from transferbench.types.arrays import Int64

_ORDER = 0xFFFFFFFF  # no image has this row, so the order has a generator of its own


def steps_of_epoch(n_images: int, epoch: int, batch_size: int, seed: int) -> list[Int64]:
    """Divide an epoch into the batches of its steps.

    Parameters
    ----------
    n_images : int
        All of them are visited once.
    epoch : int
        From 0.
    batch_size : int
        Of a step, over all processes together; the last one may be smaller.
    seed : int
        Of the run.

    Returns
    -------
    list of ndarray of int64
        The same whatever the number of processes.
    """
    order = generator(seed, epoch, _ORDER).permutation(n_images)
    return [order[start : start + batch_size] for start in range(0, n_images, batch_size)]


def parts_of_step(batch: Int64, processes: Processes, images_at_once: int | None) -> tuple[list[Int64], bool]:
    """Take this process's share of a step and cut it into what goes through the net at once.

    Parameters
    ----------
    batch : ndarray of int64
        Rows of the whole step.
    processes : Processes
        Shares differ by one image at most.
    images_at_once : int or None
        The most in one part; the whole share when None.

    Returns
    -------
    list of ndarray of int64
        At least one part.
    bool
        Whether it counts. A process that has no image left in the short last step of an epoch takes one of another's,
        because all have to meet in the backward pass; its gradient is multiplied by zero.
    """
    share = np.array_split(batch, processes.world)[processes.rank]
    if not len(share):
        return [batch[:1]], False
    at_once = images_at_once or len(share)
    return [share[start : start + at_once] for start in range(0, len(share), at_once)], True


def draws(seed: int, epoch: int, rows: Tensor) -> Tensor:
    """Give every visit to an image a number of its own, from which its dropout masks follow.

    Parameters
    ----------
    seed : int
        Of the run.
    epoch : int
        From 0.
    rows : Tensor of shape (N,), int64
        Which images.

    Returns
    -------
    Tensor of shape (N,), int64
        Different for every image and epoch of the run.
    """
    digest = hashlib.sha256(f"dropout {seed}".encode()).digest()
    base = int.from_bytes(digest[:8], "little", signed=True)
    return torch.bitwise_xor(rows + (epoch << 32), base)
