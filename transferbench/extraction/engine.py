"""What every engine is, and which device it runs on."""

import os
from collections.abc import Callable
from typing import Protocol

import torch

from transferbench.errors import DeviceError
from transferbench.types.arrays import Float32, UInt8

BYTES_BESIDE = 16
"""For each pixel of an image: its three bytes, four times over, and a 1/32 x 1/32 share of 512 numbers, twice."""


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
    band_pixels: int | None
    """Pixels that go through the net at once: larger images go in bands. None for a net that must see all at once."""
    bytes_per_band_pixel: int
    """Memory that a band takes for each of its pixels, or an image where there are no bands."""

    def describe(self, images: UInt8, *, flip: bool = False) -> Float32:
        """Map (N, H, W, 3) bytes to (N, D) descriptors; with `flip` those of the mirror images follow: (2 N, D)."""

    def start(self, images: UInt8, *, flip: bool = False) -> Callable[[], Float32] | None:
        """Begin what `describe` does, and return what waits for it; None where nothing can go on meanwhile."""

    def narrower(self, height: int, width: int) -> bool:
        """Halve the bands for an image that did not fit into memory; False if they cannot be narrower."""


def image_bytes(engine: Engine, pixels: int) -> int:
    """Estimate the memory that one image takes while it is described.

    Parameters
    ----------
    engine : Engine
        What describes it.
    pixels : int
        Of the rescaled image.

    Returns
    -------
    int
        Its bytes, those of its mirror image and copies of both, the last maps, and what a band or the whole takes.
    """
    at_once = pixels if engine.band_pixels is None else min(pixels, engine.band_pixels)
    return pixels * BYTES_BESIDE + at_once * engine.bytes_per_band_pixel


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
