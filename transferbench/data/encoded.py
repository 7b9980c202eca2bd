"""Training images: from compressed bytes to a rescaled square, with no more work than the square needs.

`transferbench.data.images` defines the exact pixels: decode, rescale the whole image, cut. Training has two short cuts.

* Only the square is rescaled, from the part of the image beneath it and that part's neighbours; or, where the whole is
  not much larger than the square, the whole by faster kernels than Pillow's (`Rescaler`). Both differ from the exact
  way by the rounding of single pixels: one grey level, or two, in less than a pixel of a hundred.
* A JPEG that is very large is decoded at 1/2, 1/4 or 1/8 of its size, which JPEG's own transform gives almost for
  nothing, as long as what is decoded stays `REDUCED_MARGIN` times as large as what is needed, in each direction: the
  filter of the rescaling still sees at least two pixels for every one that it makes.

Held-out images take the exact way.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from transferbench.data.images import FILTERS, as_rgb, decoding, open_encoded, rescale, rescaled_size
from transferbench.errors import DatasetError
from transferbench.types.arrays import Int64, UInt8
from transferbench.types.preprocessing import Interpolation

REDUCED_MARGIN = 2
"""How much larger than needed, in each direction, a JPEG that is decoded at a reduced size must still be."""


_WHOLE_TO_SQUARE = 4
"""Up to how many times as many pixels as the square the whole rescaled image may have to be made as a whole: 512 x 384
for a square of 224. Beyond, Pillow is faster with the square alone."""


class Rescaler(Protocol):
    """A faster way than Pillow's to rescale a whole image."""

    def __call__(self, pixels: UInt8, height: int, width: int, interpolation: Interpolation, /) -> UInt8:
        """Return the image (height, width, 3) from its pixels (H, W, 3)."""


class Encoded(Protocol):
    """Compressed images by row; may be sent to other processes."""

    def read(self, row: int) -> bytes:
        """Return a whole image file."""

    def where(self, row: int) -> str:
        """Tell a person which file that is."""


class Picture(Protocol):
    """One image, of which a rescaled square can be had."""

    def size_at(self, short_side_px: int) -> tuple[int, int]:
        """Return height and width after rescaling to a short side."""

    def crop(self, short_side_px: int, top: int, left: int, side_px: int) -> UInt8:
        """Return the square (side, side, 3) at a place in the image rescaled to a short side."""


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """Labelled images in an order.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64
        Classes.
    open : callable
        From a row to its image.
    """

    labels: Int64
    open: Callable[[int], Picture]

    def __len__(self) -> int:
        return len(self.labels)

    def picture(self, row: int) -> Picture:
        """Return one image.

        Parameters
        ----------
        row : int
            From 0.

        Returns
        -------
        Picture
            Its header is read, its pixels are not.

        Raises
        ------
        DatasetError
            If the file is missing or damaged; the message names it.
        """
        return self.open(row)


@dataclass(frozen=True, slots=True)
class EncodedPictures:
    """Opens compressed images.

    Parameters
    ----------
    encoded : Encoded
        Their bytes.
    interpolation : {"bicubic", "bilinear"}
        Of the rescaling.
    exact : bool
        Whether to do without the short cuts of training.
    rescaler : Rescaler, optional
        One more of these short cuts.
    """

    encoded: Encoded
    interpolation: Interpolation
    exact: bool
    rescaler: Rescaler | None = None

    def __call__(self, row: int) -> Picture:
        """Open one image; see `LabelledPictures.picture`."""
        where = self.encoded.where(row)
        image = open_encoded(self.encoded.read(row), where)
        if self.exact:
            with decoding(where):
                return WholePicture(as_rgb(image), self.interpolation)
        return EncodedPicture(image, where, self.interpolation, self.rescaler)


class EncodedPicture:
    """One compressed image, decoded when a square of it is asked for, and then once: ask for one square.

    Parameters
    ----------
    image : PIL.Image.Image
        Header read, pixels not.
    where : str
        Where it comes from, for messages.
    interpolation : {"bicubic", "bilinear"}
        Of the rescaling.
    rescaler : Rescaler, optional
        For images that are not much larger than the square.
    """

    def __init__(
        self, image: Image.Image, where: str, interpolation: Interpolation, rescaler: Rescaler | None = None
    ) -> None:
        self._image = image
        self._where = where
        self._interpolation = interpolation
        self._rescaler = rescaler
        self._size = image.size

    def size_at(self, short_side_px: int) -> tuple[int, int]:
        """Return the size after rescaling.

        Parameters
        ----------
        short_side_px : int
            S.

        Returns
        -------
        tuple of int
            Height and width.
        """
        width, height = rescaled_size(*self._size, short_side_px)
        return height, width

    def crop(self, short_side_px: int, top: int, left: int, side_px: int) -> UInt8:
        """Cut a square out of the rescaled image.

        Parameters
        ----------
        short_side_px : int
            S.
        top, left : int
            Of the square, in the rescaled image.
        side_px : int
            Of the square.

        Returns
        -------
        ndarray of shape (side, side, 3), uint8
            RGB.

        Raises
        ------
        DatasetError
            If the image is damaged.
        """
        needed = rescaled_size(*self._size, short_side_px)
        with decoding(self._where):
            width, height = self._decode(needed)
            whole = self._image if _is_plain_rgb(self._image) else as_rgb(self._image)
        box = (left, top, left + side_px, top + side_px)
        if whole.size == needed:
            return np.asarray(whole.crop(box))
        # An image that was decoded at a reduced size ends within its last pixel, which only Pillow's box can say.
        if (
            self._rescaler is not None
            and (whole.width, whole.height) == (float(width), float(height))
            and needed[0] * needed[1] <= _WHOLE_TO_SQUARE * side_px**2
        ):
            pixels = self._rescaler(np.array(whole), needed[1], needed[0], self._interpolation)
            return pixels[top : top + side_px, left : left + side_px]
        across, down = width / needed[0], height / needed[1]
        part = (box[0] * across, box[1] * down, min(box[2] * across, width), min(box[3] * down, height))
        return np.asarray(whole.resize((side_px, side_px), FILTERS[self._interpolation], box=part))

    def _decode(self, needed: tuple[int, int]) -> tuple[float, float]:
        """Decode, and return width and height in px of what was decoded: a fraction where the last pixel is cut."""
        wanted = (REDUCED_MARGIN * needed[0], REDUCED_MARGIN * needed[1])
        reduced = self._image.draft(self._image.mode, wanted)  # None for a PNG
        self._image.load()
        return (reduced[1][2], reduced[1][3]) if reduced is not None else self._size


class WholePicture:
    """One decoded image, rescaled as a whole.

    Parameters
    ----------
    image : PIL.Image.Image
        In mode RGB.
    interpolation : {"bicubic", "bilinear"}
        Of the rescaling.
    """

    def __init__(self, image: Image.Image, interpolation: Interpolation) -> None:
        self._image = image
        self._interpolation = interpolation

    def size_at(self, short_side_px: int) -> tuple[int, int]:
        """Return the size after rescaling; see `EncodedPicture.size_at`."""
        width, height = rescaled_size(*self._image.size, short_side_px)
        return height, width

    def crop(self, short_side_px: int, top: int, left: int, side_px: int) -> UInt8:
        """Cut a square out of the rescaled image; see `EncodedPicture.crop`."""
        whole = rescale(self._image, short_side_px, self._interpolation)
        return whole[top : top + side_px, left : left + side_px]


class FileImages:
    """Image files. Over a million paths are kept as one block of bytes, which processes share instead of copying.

    Parameters
    ----------
    paths : sequence of str
        Absolute.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        encoded = [os.fsencode(path) for path in paths]
        self._ends = np.cumsum([len(path) for path in encoded], dtype=np.int64)
        self._paths = np.frombuffer(b"".join(encoded), dtype=np.uint8)

    def where(self, row: int) -> str:
        """Return a path.

        Parameters
        ----------
        row : int
            From 0.

        Returns
        -------
        str
            As it was given.
        """
        start = int(self._ends[row - 1]) if row else 0
        return os.fsdecode(self._paths[start : int(self._ends[row])].tobytes())

    def read(self, row: int) -> bytes:
        """Read a file.

        Parameters
        ----------
        row : int
            From 0.

        Returns
        -------
        bytes
            All of it.

        Raises
        ------
        DatasetError
            If it is missing or cannot be read.
        """
        path = self.where(row)
        with reading(path):
            return Path(path).read_bytes()


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Say which file cannot be read.

    Parameters
    ----------
    path : str
        The file.

    Raises
    ------
    DatasetError
        Instead of the `OSError` of the body.
    """
    try:
        yield
    except OSError as problem:
        msg = f"{path}: cannot be read: {problem.strerror or problem}"
        raise DatasetError(msg) from problem


def _is_plain_rgb(image: Image.Image) -> bool:
    return image.mode == "RGB" and "transparency" not in image.info
