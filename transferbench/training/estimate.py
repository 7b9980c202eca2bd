"""How long a training will take, measured before it begins: one pass there and back."""

import time
from dataclasses import replace

import torch
from torch import nn

from transferbench.errors import TrainingError
from transferbench.training.batch import Batch
from transferbench.training.descent import Descent
from transferbench.training.options import Execution, TrainingOptions
from transferbench.training.processes import Processes

_ON_A_CPU = 8


def estimate(
    net: nn.Module,
    side_px: int,
    options: TrainingOptions,
    execution: Execution,
    processes: Processes,
    *,
    n_images: int,
) -> str:
    """Time the gradient of a few random crops; a lack of memory on a GPU shows now, not after an hour.

    Parameters
    ----------
    net : Module
        As for `Descent`, on its device. Its weights stay as they are.
    side_px : int
        Of the crops.
    options : TrainingOptions
        Number of epochs and size of the batch.
    execution : Execution
        Device and precision.
    processes : Processes
        Among which the batch is divided.
    n_images : int
        Of an epoch.

    Returns
    -------
    str
        A sentence for a person.

    Raises
    ------
    TrainingError
        If they do not fit into the device's memory.
    """
    share = -(-min(options.batch_size, n_images) // processes.world)
    n = min(share, execution.images_at_once or share)
    if execution.device == "cpu":
        n = min(n, _ON_A_CPU)
    rows = torch.arange(n)
    with torch.random.fork_rng():
        crops = torch.randint(0, 256, (n, side_px, side_px, 3), dtype=torch.uint8)
        batch = Batch(crops=crops, shifts=torch.zeros(n, 3), labels=torch.zeros_like(rows), rows=rows)
        descent = Descent(net, options, replace(execution, compiled=False), Processes())
        try:
            for _ in range(2):  # the first time everything is made ready
                began = time.perf_counter()
                descent.gradient([batch], n, 0)
                if execution.device.startswith("cuda"):
                    torch.cuda.synchronize(execution.device)
                seconds = time.perf_counter() - began
        except torch.OutOfMemoryError as problem:
            msg = (
                f"{n} crops of {side_px} px at once do not fit into the memory of {execution.device}.\n"
                f"  Take fewer at once, which changes nothing else: --images-at-once {max(1, n // 2)}"
            )
            raise TrainingError(msg) from problem
    rate = n * processes.world / seconds
    return f"about {_told(options.epochs * n_images / rate)} at {rate:,.0f} images/s, if the images come as fast"


def _told(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
