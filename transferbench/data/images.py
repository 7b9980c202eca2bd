"""Pixels: isotropic rescaling to a short side. Whatever changes a pixel here must raise `PIXELS_VERSION`."""

import numpy as np
from PIL import Image

from transferbench.types import Interpolation, UInt8

PIXELS_VERSION = 1
"""Part of every descriptor's key."""

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


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
    return np.array(image if image.size == size else image.resize(size, _FILTERS[interpolation]), dtype=np.uint8)
