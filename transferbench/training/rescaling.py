"""Rescaling by torch's kernels, two to three times as fast as Pillow's; for training alone."""

import torch
import torch.nn.functional as F

from transferbench.types.arrays import UInt8
from transferbench.types.preprocessing import Interpolation


def rescaled(pixels: UInt8, height: int, width: int, interpolation: Interpolation) -> UInt8:
    """Rescale a whole image.

    Parameters
    ----------
    pixels : ndarray of shape (H, W, 3), uint8
        Writable, which torch insists on; it stays as it is.
    height, width : int
        After rescaling, in px.
    interpolation : {"bicubic", "bilinear"}
        With a filter that widens where the image shrinks, as Pillow's does.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        Within two grey levels of what Pillow gives, the same in nearly all pixels.
    """
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    made = F.interpolate(given, size=(height, width), mode=interpolation, antialias=True)
    array: UInt8 = made[0].permute(1, 2, 0).numpy()
    return array
