"""Pixels: decoding to RGB and isotropic rescaling. Whatever changes a pixel here must raise `PIXELS_VERSION`.

Pillow is the reference decoder. The EXIF orientation is ignored, as the tools of the time did: annotated boxes count in
stored pixels. A file is what its content says, whatever its name.
"""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from transferbench.errors import BadImageError, DatasetError
from transferbench.types.arrays import UInt8
from transferbench.types.preprocessing import Interpolation

PIXELS_VERSION = 1
"""Part of every descriptor's key."""

MAX_PIXELS = 50_000_000
"""Larger images are refused before they are decoded: they are damaged, or made to exhaust memory."""

FORMATS = ("JPEG", "PNG")
_SMALLER = "Replace the file by an image of reasonable size."

# Pillow warns of a very large image and decodes it all the same; here the warning is the end of it.
warnings.simplefilter("error", Image.DecompressionBombWarning)

# What Pillow raises on damaged files, beside its own errors.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
FILTERS: dict[Interpolation, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}
"""Pillow's filter for every name of an interpolation."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file says about its image before it is decoded.

    Parameters
    ----------
    format : str
        ``JPEG`` or ``PNG``, by content.
    mode : str
        Pillow's name: RGB, L (grey), CMYK, P (palette) and so on.
    width, height : int
        In px, as stored.
    """

    format: str
    mode: str
    width: int
    height: int


def read_header(path: Path) -> ImageHeader:
    """Read the header of an image file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ImageHeader
        Nothing is decoded.

    Raises
    ------
    DatasetError
        If the file is missing or cannot be read.
    BadImageError
        If it is empty, no JPEG or PNG, or claims more than `MAX_PIXELS`.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return _checked_header(image, path)
    except _DAMAGE as problem:
        raise _damage(path, problem) from problem


def read_image(path: Path) -> Image.Image:
    """Decode an image file.

    Grey, palette and CMYK images become RGB by Pillow's conversion; an alpha channel is dropped; of 16 bits the upper
    eight are kept.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    PIL.Image.Image
        In mode RGB, all of it decoded, not turned by EXIF.

    Raises
    ------
    DatasetError
        If the file is missing or cannot be read.
    BadImageError
        If it is empty, truncated, no JPEG or PNG, or claims more than `MAX_PIXELS`.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            _checked_header(image, path)
            image.load()
            return as_rgb(image)
    except _DAMAGE as problem:
        raise _damage(path, problem) from problem


def open_encoded(data: bytes, where: str) -> Image.Image:
    """Read the header of a compressed image in memory.

    Parameters
    ----------
    data : bytes
        A whole file.
    where : str
        Where it comes from, for messages.

    Returns
    -------
    PIL.Image.Image
        Not decoded yet.

    Raises
    ------
    DatasetError
        If it is no JPEG or PNG, or claims more than `MAX_PIXELS`.
    """
    with decoding(where):
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _checked_header(image, where)
        return image


@contextmanager
def decoding(where: str) -> Iterator[None]:
    """Turn what Pillow raises on damaged files into one error that names the file.

    Parameters
    ----------
    where : str
        Where the image comes from.

    Raises
    ------
    DatasetError
        Instead of the error of the body.
    """
    try:
        yield
    except _DAMAGE as problem:
        raise _damage(Path(where), problem) from problem


def _checked_header(image: Image.Image, path: Path | str) -> ImageHeader:
    width, height = image.size
    if width * height > MAX_PIXELS:
        claim = f"claims {width} x {height} px; more than {MAX_PIXELS:,} pixels are not decoded"
        raise BadImageError(str(path), claim, _SMALLER)
    return ImageHeader(str(image.format), image.mode, width, height)


def as_rgb(image: Image.Image) -> Image.Image:
    """Turn a decoded image of any mode into RGB, as `read_image` does.

    Parameters
    ----------
    image : PIL.Image.Image
        Decoded.

    Returns
    -------
    PIL.Image.Image
        In mode RGB, a copy.
    """
    if image.mode.startswith("I"):  # 16 bits: Pillow would cut off at 255 instead of scaling
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info:  # an alpha channel in disguise
        image = image.convert("RGBA")
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _damage(path: Path, problem: Exception) -> DatasetError:
    if isinstance(problem, FileNotFoundError):
        return DatasetError(f"{path}: there is no such image")
    # Pillow's own errors have no number; those of the system say nothing about the image, and may pass.
    if isinstance(problem, OSError) and problem.errno is not None:
        return DatasetError(f"{path}: cannot be read: {problem.strerror}")
    return BadImageError(str(path), *_defect(path, problem))


def _defect(path: Path, problem: Exception) -> tuple[str, str]:
    """Say what is wrong with the content of a file, without its path, and what to do if that is not to get it again."""
    if isinstance(problem, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"claims more than {MAX_PIXELS:,} pixels; it is not decoded", _SMALLER
    if path.is_file() and path.stat().st_size == 0:
        return "is empty (zero bytes)", ""
    if isinstance(problem, UnidentifiedImageError):
        return "is neither a JPEG nor a PNG image", "Get the file again, or convert it to a JPEG or PNG."
    return f"is damaged: {' '.join(str(problem).split())}", ""


def rescaled_size(width: int, height: int, short_side_px: int) -> tuple[int, int]:
    """Compute the size of an image whose shorter side becomes Q.

    Parameters
    ----------
    width, height : int
        Of the original, in px.
    short_side_px : int
        Q.

    Returns
    -------
    tuple of int
        Width and height; the long side is rounded to the nearest pixel, halves up.
    """
    short, long = sorted((width, height))
    other = (2 * long * short_side_px + short) // (2 * short)
    return (short_side_px, other) if width <= height else (other, short_side_px)


def rescale(image: Image.Image, short_side_px: int, interpolation: Interpolation) -> UInt8:
    """Rescale an image isotropically, antialiased when it shrinks.

    Parameters
    ----------
    image : PIL.Image.Image
        In mode RGB.
    short_side_px : int
        Q: the short side of the result.
    interpolation : {"bicubic", "bilinear"}
        Pillow's filter of that name, whose support grows with the shrinking factor.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        RGB, 0-255.

    Raises
    ------
    ValueError
        If the image is not in mode RGB.

    References
    ----------
    Simonyan & Zisserman (2015), Sect. 3.1 and 3.2.
    """
    if image.mode != "RGB":
        msg = f"an RGB image is needed, got mode {image.mode}"
        raise ValueError(msg)
    size = rescaled_size(*image.size, short_side_px)
    return np.array(image if image.size == size else image.resize(size, FILTERS[interpolation]), dtype=np.uint8)
