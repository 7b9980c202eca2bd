"""The fast engine for CPUs: ncnn computes the 3 x 3 convolutions by Winograd's algorithm, in float32.

Winograd's algorithm needs up to five times fewer multiplications than a direct convolution, which torch computes. What
comes before (preprocessing) and after (fc6, fc7, pooling) is handed in as torch code.
"""

import ctypes
import struct
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transferbench.errors import DeviceError
from transferbench.extraction.bands import Steps, in_bands, narrowest
from transferbench.extraction.engine import BYTES_BESIDE
from transferbench.extraction.memory import fitting, free_bytes
from transferbench.layers import Convolution, MaxPooling, PlainLayer, ResponseNormalisation
from transferbench.types.arrays import Float32, UInt8

BATCH_PIXELS = 1 << 22
"""The trunk takes one image after another; a batch is its images' bytes, and the small maps that fc6 takes at once."""
BAND_PIXELS = 1 << 21
"""Of an image, or of a band of it, in the trunk: 1448 x 1448 px."""
_BYTES_PER_BAND_PIXEL = 1600
"""Measured for net D: input and output of a layer of 64 channels, and both as Winograd's algorithm has them."""

_MAGIC = "7767517"
_RAW_FLOAT32 = struct.pack("<i", 0)
_PADDED_CEIL, _PADDED_FLOOR = 0, 1  # ncnn's names for rounding up ("full") and down ("valid")
_CHANNELS = 64


def installed() -> bool:
    """Tell whether ncnn can be imported.

    Returns
    -------
    bool
        It is looked for, not loaded.
    """
    return find_spec("ncnn") is not None


class NcnnEngine:
    """A trunk in ncnn between two torch functions.

    Parameters
    ----------
    inputs : callable
        Maps (N, H, W, 3) bytes to the trunk's input (N, 3, H, W).
    layers : sequence of PlainLayer
        The trunk.
    head : callable
        Maps the trunk's output (N, C, h, w) to descriptors (N, D).
    margin_px : int
        What a cell of the trunk's output sees beyond its own 32 x 32 px.

    Raises
    ------
    DeviceError
        If ncnn is not installed, or cannot make the net.
    """

    name = "ncnn"
    precision = "float32"
    device = "cpu"

    def __init__(
        self,
        inputs: Callable[[Tensor], Tensor],
        layers: Sequence[PlainLayer],
        head: Callable[[Tensor], Tensor],
        margin_px: int,
    ) -> None:
        trunk = _Trunk(layers)
        self._steps = Steps(lambda image: trunk(inputs(image)), head, margin_px)
        # One image is in the trunk at a time.
        self.bytes_per_pixel = BYTES_BESIDE
        self.bytes_per_band_pixel = _BYTES_PER_BAND_PIXEL
        free = free_bytes("cpu")
        self.batch_pixels = fitting(BATCH_PIXELS, self.bytes_per_pixel, free)
        self.band_pixels: int | None = fitting(BAND_PIXELS, self.bytes_per_band_pixel, free)

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
            If an image does not fit.
        """
        with torch.inference_mode():
            whole = torch.split(torch.from_numpy(np.ascontiguousarray(images)), 1)
            maps = [self._maps(image) for image in whole]
            maps += [self._maps(image.flip(2)) for image in whole] if flip else []
            rows: Float32 = self._steps.head(torch.cat(maps)).numpy()
        return np.ascontiguousarray(rows, dtype=np.float32)

    def start(self, images: UInt8, *, flip: bool = False) -> None:
        """Begin nothing: the caller's core is one of those that compute."""

    def narrower(self, height: int, width: int) -> bool:
        """Halve the bands; see `Engine.narrower`."""
        if self.band_pixels is None or self.band_pixels <= narrowest(height, width, self._steps.margin_px):
            return False
        self.band_pixels = min(self.band_pixels, height * width) // 2
        return True

    def _maps(self, image: Tensor) -> Tensor:
        steps = self._steps
        return in_bands(steps.trunk, image, most_pixels=self.band_pixels or BAND_PIXELS, margin_px=steps.margin_px)


class _Trunk:
    """Layers in ncnn."""

    def __init__(self, layers: Sequence[PlainLayer]) -> None:
        if not installed():
            msg = "the engine ncnn is not installed.\n  pip install 'transferbench[cpu]', or use --engine torch."
            raise DeviceError(msg)
        import ncnn  # noqa: PLC0415 - an extra

        self._ncnn = ncnn
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = torch.get_num_threads()
        # float32 throughout, whatever the processor offers.
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_packed = options.use_bf16_storage = False
        lines = list(_lines(layers))
        self._output = lines[-1].split()[1]
        description = f"{_MAGIC}\n{len(lines)} {len(lines)}\n" + "\n".join(lines) + "\n"
        if self._net.load_param_mem(description) or self._net.load_model(_reader(ncnn, layers)):
            msg = "ncnn cannot make this net; use --engine torch"
            raise DeviceError(msg)

    def __call__(self, images: Tensor) -> Tensor:
        """Map an image (1, 3, H, W) to (1, C, h, w)."""
        planes: Float32 = images[0].contiguous().numpy()
        extractor = self._net.create_extractor()
        extractor.input("images", self._ncnn.Mat(planes))
        failed, maps = extractor.extract(self._output)
        if failed:  # for a net that was made, memory is what can be missing
            msg = f"ncnn has no memory for an image of {planes.shape[2]} x {planes.shape[1]} px"
            raise MemoryError(msg)
        return torch.from_numpy(np.array(maps))[None]


def _lines(layers: Sequence[PlainLayer]) -> Iterator[str]:
    """Describe layers in ncnn's text format: kind, name, numbers of inputs and outputs, their names, parameters."""
    before = "images"
    yield f"Input {before} 0 1 {before}"
    for number, layer in enumerate(layers):
        name = f"layer{number}"
        match layer:
            case Convolution():
                kind = "Convolution"
                outputs, _, side, _ = layer.weight.shape
                parameters = f"0={outputs} 1={side} 4={layer.padding} 5=1 6={layer.weight.size} 9=1"
            case MaxPooling():
                kind = "Pooling"
                parameters = f"0=0 1=2 2=2 5={_PADDED_CEIL if layer.ceil else _PADDED_FLOOR}"
            case ResponseNormalisation():
                kind = "LRN"
                parameters = f"0=0 1={layer.size} 2={layer.alpha} 3={layer.beta} 4={layer.k}"
        yield f"{kind} {name} 1 1 {before} {name} {parameters}"
        before = name


def _weights(layers: Sequence[PlainLayer]) -> Iterator[bytes]:
    """Write weights as ncnn's binary format has them: a tag, then the numbers; biases without a tag."""
    for layer in layers:
        if isinstance(layer, Convolution):
            yield _RAW_FLOAT32
            for array in (layer.weight, layer.bias):
                yield np.ascontiguousarray(array, dtype="<f4").tobytes()


def _reader(ncnn: Any, layers: Sequence[PlainLayer]) -> Any:
    """Hand weights over in memory. ncnn's own `load_model_mem` keeps a pointer into a string that Python frees."""
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype = ctypes.c_void_p
    address.argtypes = [ctypes.py_object, ctypes.c_char_p]
    content = memoryview(b"".join(_weights(layers)))

    class Reader(ncnn.DataReader):  # type: ignore[misc]  # ncnn has no types
        at = 0

        def read(self, buffer: Any, size: int) -> int:
            part = bytes(content[self.at : self.at + size])
            ctypes.memmove(address(buffer, None), part, len(part))
            self.at += len(part)
            return len(part)

    return Reader()
