"""The streams of random numbers of a process, to be saved and gone back to."""

import hashlib
from typing import Any

import torch
from torch import Tensor

from transferbench.progress import Progress
from transferbench.training.processes import Processes


def seed_of_process(seed: int, rank: int) -> int:
    """Give every process a seed of its own for torch's streams.

    Parameters
    ----------
    seed : int
        Of the run.
    rank : int
        Of the process.

    Returns
    -------
    int
        The run's own for the first process. Of 32 bits for the others: torch's generator for CPUs leaves higher ones
        out, so a rank put there would give all processes the same stream.
    """
    if rank == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"seed {seed} process {rank}".encode()).digest()[:4], "little")


def random_state(device: str) -> dict[str, Tensor]:
    """Return where torch's streams stand.

    Parameters
    ----------
    device : str
        A GPU has a stream of its own.

    Returns
    -------
    dict of str to Tensor
        By kind of device.
    """
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.startswith("cuda") else {})


def restore_random(states: list[dict[str, Any]], processes: Processes, progress: Progress) -> None:
    """Go back to the streams of a checkpoint.

    Parameters
    ----------
    states : list of dict
        By rank, as `random_state` gave them.
    processes : Processes
        Which of them is ours.
    progress : Progress
        Told when their number has changed: then masks from the stream are others than without the stop. Masks that
        belong to the images, all crops and the order stay what they are.
    """
    if len(states) != processes.world:
        progress.say(f"the checkpoint was made by {len(states)} process(es), now there are {processes.world}")
        return
    mine = states[processes.rank]
    torch.set_rng_state(mine["cpu"])
    if "cuda" in mine and torch.cuda.is_available():
        torch.cuda.set_rng_state(mine["cuda"], torch.cuda.current_device())
