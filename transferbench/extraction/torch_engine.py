"""The engine that is always there: a torch module, on CPUs and GPUs."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from transferbench.extraction.bands import Steps, in_bands, narrowest
from transferbench.extraction.memory import fitting, free_bytes
from transferbench.types.arrays import Float32, UInt8

BATCH_PIXELS = {"cpu": 1 << 20, "cuda": 1 << 24}
"""On a CPU 12 images of 341 x 256 px: fc6 has enough positions, and no layer is faster with more. A GPU wants more."""

BAND_PIXELS = {"cpu": 1 << 21, "cuda": 1 << 24}
"""Of an image, or of a band of it: 1448 x 1448 px on a CPU."""
_WORTH_A_TRIAL = 2
"""Batches of the same shape before cuDNN tries all its algorithms for them: images of a size of their own come once."""

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
    steps : Steps, optional
        The same net in two steps, for images that are too large to go at once.
    compiled : bool, default False
        Whether torch.compile makes the kernels: of a net in steps those of its trunk, since the head is products of
        matrices alone, and how often it is cut depends on the size. One set of kernels serves all sizes.
    """

    name = "torch"

    def __init__(
        self,
        backbone: nn.Module,
        device: str,
        precision: str = "float32",
        *,
        steps: Steps | None = None,
        compiled: bool = False,
    ) -> None:
        self.device = device
        self.precision = precision
        self._kind = device.partition(":")[0]
        backbone.to(device).eval()
        self._compiled = compiled
        self._whole: Callable[[Tensor], Tensor] = torch.compile(backbone) if compiled and steps is None else backbone
        self._steps = steps
        if compiled and steps is not None:
            self._steps = replace(steps, trunk=torch.compile(steps.trunk))
        self._shapes: Counter[tuple[int, ...]] = Counter()
        self.bytes_per_pixel = self.bytes_per_band_pixel = 3 * _CHANNELS * _TYPES[precision].itemsize + 3 * 4
        free = free_bytes(device)
        self.batch_pixels = fitting(BATCH_PIXELS[self._kind], self.bytes_per_pixel, free)
        self.band_pixels = None if steps is None else fitting(BAND_PIXELS[self._kind], self.bytes_per_pixel, free)

    def describe(self, images: UInt8, *, flip: bool = False) -> Float32:
        """Describe a batch.

        Parameters
        ----------
        images : ndarray of shape (N, H, W, 3), uint8
            RGB.
        flip : bool
            Whether to describe the mirror images, too.

        Returns
        -------
        ndarray of shape (N, D) or (2 N, D), float32
            One row per image, then one per mirror image.

        Raises
        ------
        MemoryError
            If the batch does not fit.
        """
        with _no_memory_told():
            return self._rows(images, flip=flip).cpu().numpy()

    def start(self, images: UInt8, *, flip: bool = False) -> Callable[[], Float32] | None:
        """Begin to describe a batch on a GPU, which works on while the caller prepares the next one.

        Parameters
        ----------
        images : ndarray of shape (N, H, W, 3), uint8
            RGB.
        flip : bool
            Whether to describe the mirror images, too.

        Returns
        -------
        callable or None
            Waits for what `describe` returns. None on a CPU, where nothing was begun.

        Raises
        ------
        MemoryError
            If the batch does not fit.
        """
        if self._kind != "cuda":
            return None
        with _no_memory_told():
            # The copy is queued here, before the next batch: asked for later, it would wait for that one, too.
            begun = self._rows(images, flip=flip).to("cpu", non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch has no type for it
            copied.record(torch.cuda.current_stream(self.device))

        def rows() -> Float32:
            copied.synchronize()
            return np.array(begun.numpy())  # in ordinary memory; torch wants its locked memory back

        return rows

    def narrower(self, height: int, width: int) -> bool:
        """Halve the bands; see `Engine.narrower`."""
        if self._steps is None or self.band_pixels is None:
            return False
        if self.band_pixels <= narrowest(height, width, self._steps.margin_px):
            return False
        self.band_pixels = min(self.band_pixels, height * width) // 2
        return True

    def _rows(self, images: UInt8, *, flip: bool) -> Tensor:
        with torch.inference_mode(), self._settings(images.shape):
            batch = torch.from_numpy(images)
            if self._kind == "cuda":
                # From locked memory the copy is queued without waiting for it; torch keeps the memory until then.
                batch = batch.pin_memory().to(self.device, non_blocking=True)
            if flip:
                batch = torch.cat([batch, batch.flip(2)])
            return self._described(batch).float().contiguous()

    def _described(self, batch: Tensor) -> Tensor:
        if self._steps is None or self.band_pixels is None:
            return self._whole(self._any_size(batch))
        trunk, margin = self._steps.trunk, self._steps.margin_px
        maps = in_bands(lambda part: trunk(self._any_size(part)), batch, most_pixels=self.band_pixels, margin_px=margin)
        return self._steps.head(maps)

    def _any_size(self, batch: Tensor) -> Tensor:
        """Ask for kernels of any number and size of images: torch gives up after eight sizes otherwise."""
        if self._compiled:
            for axis in range(3):
                torch._dynamo.maybe_mark_dynamic(batch, axis)  # noqa: SLF001 - torch documents it under this name
        return batch

    def _settings(self, shape: tuple[int, ...]) -> AbstractContextManager[object]:
        settings = ExitStack()
        if self.precision != "float32":
            settings.enter_context(torch.autocast(self._kind, dtype=_TYPES[self.precision]))
        if self._kind == "cuda":
            # A trial of all algorithms pays for a shape that comes again and again, unless the bits must be the same
            # every time. What is called float32 is not rounded to TF32 on the way, in products of matrices neither.
            exact = torch.are_deterministic_algorithms_enabled()
            self._shapes[shape] += 1
            tried = not exact and self._shapes[shape] > _WORTH_A_TRIAL
            settings.enter_context(
                torch.backends.cudnn.flags(
                    enabled=True, benchmark=tried, deterministic=exact, allow_tf32=False, fp32_precision="ieee"
                )
            )
        return settings


@contextmanager
def _no_memory_told() -> Iterator[None]:
    """Turn torch's ways to say that memory does not suffice into `MemoryError`."""
    try:
        yield
    except torch.OutOfMemoryError as problem:
        torch.cuda.empty_cache()
        raise MemoryError(str(problem)) from problem
    except RuntimeError as problem:
        # Neither the CPU's allocator nor cuDNN and cuBLAS have an error of their own.
        if any(sign in str(problem) for sign in _SIGNS):
            raise MemoryError(str(problem)) from problem
        raise


_SIGNS = ("allocate memory", "not enough memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
