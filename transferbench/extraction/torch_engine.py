"""The engine that is always there: a torch module, on CPUs and GPUs."""

from contextlib import AbstractContextManager, ExitStack

import numpy as np
import torch
from torch import nn

from transferbench.extraction.memory import fitting, free_bytes
from transferbench.types.arrays import Float32, UInt8

BATCH_PIXELS = {"cpu": 1 << 20, "cuda": 1 << 24}
"""On a CPU 12 images of 341 x 256 px: fc6 has enough positions, and no layer is faster with more. A GPU wants more."""

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CHANNELS = 64
"""Of the first block, whose maps are as large as the image: input and output of a layer, and one copy of them."""


class TorchEngine:
    """A torch module in channels-last memory.

    Parameters
    ----------
    backbone : Module
        Takes (N, H, W, 3) bytes, gives (N, D).
    device : str
        As `choose_device` returns it.
    precision : {"float32", "bfloat16", "float16"}, default "float32"
        Of the products in convolutions; anything but float32 is torch's autocast, and sums stay in float32.
    compiled : bool, default False
        Whether torch.compile makes the module's kernels. It takes minutes, for every size of image anew up to the point
        where torch tries one for all sizes.
    """

    name = "torch"

    def __init__(self, backbone: nn.Module, device: str, precision: str = "float32", *, compiled: bool = False) -> None:
        self.device = device
        self.precision = precision
        self._backbone = backbone.to(device).eval()
        self._describe = torch.compile(self._backbone) if compiled else self._backbone
        self.bytes_per_pixel = 3 * _CHANNELS * _TYPES[precision].itemsize + 3 * 4
        self.batch_pixels = fitting(BATCH_PIXELS[device.partition(":")[0]], self.bytes_per_pixel, free_bytes(device))

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

        Raises
        ------
        MemoryError
            If the batch does not fit.
        """
        try:
            with torch.inference_mode(), self._settings():
                batch = torch.from_numpy(images).to(self.device)
                rows: Float32 = self._describe(batch).float().cpu().numpy()
        except torch.OutOfMemoryError as problem:
            torch.cuda.empty_cache()
            raise MemoryError(str(problem)) from problem
        except RuntimeError as problem:
            # The CPU's allocator has no error of its own.
            if "allocate memory" in str(problem) or "not enough memory" in str(problem):
                raise MemoryError(str(problem)) from problem
            raise
        return np.ascontiguousarray(rows, dtype=np.float32)

    def _settings(self) -> AbstractContextManager[object]:
        settings = ExitStack()
        if self.precision != "float32":
            kind = self.device.partition(":")[0]
            settings.enter_context(torch.autocast(kind, dtype=_TYPES[self.precision]))
        if self.device.startswith("cuda"):
            # Images of one size come in batches, so a trial of all algorithms pays, unless the bits must be the same
            # every time. What is called float32 is not rounded to TF32 on the way.
            exact = torch.are_deterministic_algorithms_enabled()
            flags = torch.backends.cudnn.flags(enabled=True, benchmark=not exact, deterministic=exact, allow_tf32=False)
            settings.enter_context(flags)
        return settings
