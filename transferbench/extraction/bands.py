"""Images too large to go through a net at once: they go in bands, which overlap by what a position sees.

A cell of a trunk's last map sees the pixels beneath it and a margin around them. A band that brings its margin along
gives the same cells as the whole image does: zeros are padded where the image ends, as always; what they spoil where
only the band ends is thrown away. The last map of the whole image is a thousandth of its first ones, and fits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

CELL_PX = 32
"""Five poolings: a cell of the last map begins at every 32nd pixel, so bands begin there, too."""


@dataclass(frozen=True, slots=True)
class Steps:
    """A net in two steps: one for which only pixels near by count, and one on its small result.

    Parameters
    ----------
    trunk : callable
        Maps (N, H, W, 3) bytes to maps (N, C, h, w), a cell for every 32 x 32 px; of those that the image ends in,
        all or none.
    head : callable
        Maps those to descriptors (N, D).
    margin_px : int
        What a cell sees beyond its own pixels, on every side; a multiple of `CELL_PX`.
    """

    trunk: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]
    margin_px: int


def in_bands(trunk: Callable[[Tensor], Tensor], images: Tensor, *, most_pixels: int, margin_px: int) -> Tensor:
    """Apply a trunk to images, band by band along their longer side.

    Parameters
    ----------
    trunk : callable
        As in `Steps`.
    images : Tensor of shape (N, H, W, 3), uint8
        Of one size.
    most_pixels : int
        Of an image or a band of it, margins included, unless the narrowest band has more. Smaller images go as they
        are.
    margin_px : int
        As in `Steps`.

    Returns
    -------
    Tensor of shape (N, C, h, w)
        What `trunk` would give for the whole images, up to rounding.
    """
    height, width = images.shape[1:3]
    if height * width <= most_pixels:
        return trunk(images)
    long, short, axis = (height, width, 1) if height > width else (width, height, 2)
    step = max(1, (most_pixels // short - 2 * margin_px) // CELL_PX) * CELL_PX
    parts = []
    for start in range(0, long, step):
        first, last = max(0, start - margin_px), min(long, start + step + margin_px)
        maps = trunk(images.narrow(axis, first, last - first))
        skipped = (start - first) // CELL_PX
        # The last band has what begins after the last whole cell, if the net counts that.
        own = maps.shape[axis + 1] - skipped if start + step >= long else step // CELL_PX
        parts.append(maps.narrow(axis + 1, skipped, own))
    return torch.cat(parts, dim=axis + 1)


def narrowest(height: int, width: int, margin_px: int) -> int:
    """Count the pixels of the narrowest band inside an image.

    Parameters
    ----------
    height, width : int
        Of the image, in px.
    margin_px : int
        As in `Steps`.

    Returns
    -------
    int
        At most those of the image.
    """
    return min(height, width) * min(max(height, width), CELL_PX + 2 * margin_px)
