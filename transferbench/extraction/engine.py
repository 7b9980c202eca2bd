"""What every engine is, and which device it runs on."""

import os
from typing import Protocol

import torch

from transferbench.errors import DeviceError
from transferbench.types.arrays import Float32, UInt8


class Engine(Protocol):
    """Maps a batch of equal-sized images to descriptors.

    An engine raises `MemoryError` when a batch does not fit; a smaller one may be tried then.
    """

    name: str
    precision: str
    device: str
    batch_pixels: int
    """Pixels of one batch, mirror images included, beyond which images wait for the next; fixed when it is made."""
    bytes_per_pixel: int
    """Memory that a batch takes for each of its pixels while it is described."""

    def describe(self, images: UInt8) -> Float32:
        """Map (N, H, W, 3) bytes to (N, D) descriptors."""


def choose_device(asked: str) -> str:
    """Turn ``--device`` into a torch device.

    Parameters
    ----------
    asked : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Returns
    -------
    str
        ``auto`` gives a GPU if there is one: the first, or under torchrun one per process, as ``cuda`` does.

    Raises
    ------
    DeviceError
        If a GPU is asked for and not there; there is no silent fallback.
    """
    if asked == "auto":
        # torchrun tells its processes apart by LOCAL_RANK; each takes a GPU of its own.
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % n_devices}" if n_devices else "cpu"
    if asked.startswith("cuda"):
        n_devices = torch.cuda.device_count()
        number = int(asked.partition(":")[2] or 0)
        if number >= n_devices:
            msg = (
                f"device {asked} is not there: torch sees {n_devices} GPU(s). Use --device cpu, or check "
                "the driver with nvidia-smi."
            )
            raise DeviceError(msg)
        if asked == "cuda" and "LOCAL_RANK" in os.environ:
            return f"cuda:{int(os.environ['LOCAL_RANK']) % n_devices}"
    return asked
