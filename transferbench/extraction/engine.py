"""What runs a net over equal-sized images, and on which device."""

import os
from typing import Protocol

import numpy as np
import torch
from torch import nn

from transferbench.errors import DeviceError
from transferbench.types import Float32, UInt8


class Engine(Protocol):
    """Maps a batch of equal-sized images to descriptors."""

    def describe(self, images: UInt8) -> Float32:
        """Map (N, H, W, 3) bytes to (N, D) descriptors."""


class TorchEngine:
    """A torch module run eagerly, in float32.

    Parameters
    ----------
    backbone : Module
        Takes (N, H, W, 3) bytes, gives (N, D).
    device : str
        As `choose_device` returns it.
    """

    def __init__(self, backbone: nn.Module, device: str) -> None:
        self._backbone = backbone.to(device)
        self._device = device

    def describe(self, images: UInt8) -> Float32:
        """Describe a batch.

        Parameters
        ----------
        images : ndarray of shape (N, H, W, 3), uint8
            RGB.

        Returns
        -------
        ndarray of shape (N, D), float32
            One row per image.
        """
        with torch.inference_mode():
            rows: Float32 = self._backbone(torch.from_numpy(images).to(self._device)).float().cpu().numpy()
        return np.ascontiguousarray(rows, dtype=np.float32)


def choose_device(asked: str) -> str:
    """Turn ``--device`` into a torch device.

    Parameters
    ----------
    asked : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Returns
    -------
    str
        ``auto`` gives a GPU if there is one: the first, or under torchrun one per process.

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
    return asked
