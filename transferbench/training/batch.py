"""What the loop takes from whoever loads images: batches of crops, as frozen values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from transferbench.types.arrays import Int64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Crops of a few images, on the CPU.

    Parameters
    ----------
    crops : Tensor of shape (N, side, side, 3), uint8
        RGB, mirrored already. Pinned by the loader if a GPU will take them.
    shifts : Tensor of shape (N, 3), float32
        What is added to R, G and B of a crop, in grey levels of 0-255; zeros where there is no colour shift. The loop
        adds it on the device, so that bytes travel and nothing is rounded or cut off.
    labels : Tensor of shape (N,), int64
        Classes.
    rows : Tensor of shape (N,), int64
        Which images of the collection they are.
    """

    crops: Tensor
    shifts: Tensor
    labels: Tensor
    rows: Tensor


class Crops(Protocol):
    """Labelled images that are visited as crops."""

    labels: Int64

    def __len__(self) -> int:
        """Return the number of images."""

    def batches(self, batches: Sequence[Int64], epoch: int | None) -> Iterator[Batch]:
        """Visit images.

        Parameters
        ----------
        batches : sequence of ndarray of int64
            Rows of each batch, in the order in which the batches are wanted. Sizes may differ.
        epoch : int or None
            From 0; with seed and row it decides everything random. None for the centre crop without any change.

        Yields
        ------
        Batch
            One for every array of rows.
        """
