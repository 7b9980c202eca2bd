"""How long a training will take, measured before it begins: the quickest of a few passes there and back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from transferbench.errors import TrainingError
from transferbench.training.batch import Batch
from transferbench.training.descent import Descent
from transferbench.training.options import Execution, TrainingOptions, prepare_device
from transferbench.training.processes import Processes

_ON_A_CPU = 8
_LONG_ENOUGH_S = 0.5


def images_per_second(
    net: nn.Module,
    side_px: int,
    options: TrainingOptions,
    execution: Execution,
    processes: Processes,
    *,
    n_images: int,
) -> float:
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
    float
        Of all processes together, if images come as fast as they are wanted.

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
    prepare_device(execution.device, execution.precision)
    with torch.random.fork_rng([execution.device] if execution.device.startswith("cuda") else []):
        crops = torch.randint(0, 256, (n, side_px, side_px, 3), dtype=torch.uint8)
        batch = Batch(crops=crops, shifts=torch.zeros(n, 3), labels=torch.zeros_like(rows), rows=rows)
        descent = Descent(net, options, replace(execution, compiled=False), Processes())

        def seconds_of_one() -> float:
            began = time.perf_counter()
            descent.gradient([batch], n, 0)
            if execution.device.startswith("cuda"):
                torch.cuda.synchronize(execution.device)
            return time.perf_counter() - began

        with explained(n, execution):
            seconds_of_one()  # the first time everything is made ready
            # One short pass may be held up by whatever else the machine does.
            found = [seconds_of_one()]
            while sum(found) < _LONG_ENOUGH_S:
                found.append(seconds_of_one())
    return n * processes.world / min(found)


@contextmanager
def explained(n: int, execution: Execution) -> Iterator[None]:
    """Say what to do where crops do not fit into memory, or torch cannot compile the net.

    Parameters
    ----------
    n : int
        Crops that go through the net at once.
    execution : Execution
        On what.

    Raises
    ------
    TrainingError
        Instead of what torch raises in the body.
    """
    try:
        yield
    except torch.OutOfMemoryError as problem:
        msg = (
            f"{n} crops at once do not fit into the memory of {execution.device}.\n"
            f"  Take fewer at once, which changes nothing else: --images-at-once {max(1, n // 2)}"
        )
        raise TrainingError(msg) from problem
    except RuntimeError as problem:
        # The compiler's errors have no common class that is public.
        if not type(problem).__module__.startswith(("torch._inductor", "torch._dynamo")):
            raise
        msg = (
            f"torch could not compile the net: {str(problem).splitlines()[0]}\n"
            "  It needs a C++ compiler (g++ or clang++, which CXX may name), and for GPUs Triton. Or leave out\n"
            "  --compile: a run may be gone on with either way."
        )
        raise TrainingError(msg) from problem


def told_duration(seconds: float) -> str:
    """Tell a duration in the unit that suits it.

    Parameters
    ----------
    seconds : float
        Not negative.

    Returns
    -------
    str
        For instance ``22.4 hours``.
    """
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
