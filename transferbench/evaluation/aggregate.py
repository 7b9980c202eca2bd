"""From descriptors of several nets and scales to one row of features per image, a few hundred rows at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from transferbench.errors import FeatureError
from transferbench.types.arrays import Float32, Float64
from transferbench.types.descriptors import Features, check_rows

L2 = Literal["none", "block", "global", "both"]

Combine = Callable[[Sequence[Float32]], Float32]
"""Maps one net's scales, each (n, D) of the same n images, to (n, D)."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Descriptors of all images by one net at one scale, wherever they are kept.

    Parameters
    ----------
    name : str
        For messages, for instance ``net D at 384 px``.
    ids : tuple of str
        N image ids, in the order of the rows.
    chunks : callable
        Gives consecutive rows, each chunk (n, D), float32, divided alike by all sources of the same images. It can be
        called any number of times; nobody keeps more than one chunk of it, unless stated.
    """

    name: str
    ids: tuple[str, ...]
    chunks: Callable[[], Iterator[Float32]]
    key: str = ""


def average(scales: Sequence[Float32]) -> Float32:
    """Average over the scales.

    Parameters
    ----------
    scales : sequence of ndarray of shape (n, D), float32
        Ascending scales of one net.

    Returns
    -------
    ndarray of shape (n, D), float32
        Summed in float64, so the order of the scales does not matter.
    """
    total = np.sum(np.stack(scales), axis=0, dtype=np.float64)
    return np.asarray(total / len(scales), dtype=np.float32)


def maximum(scales: Sequence[Float32]) -> Float32:
    """Take the largest value over the scales.

    Parameters
    ----------
    scales : sequence of ndarray of shape (n, D), float32
        Ascending scales of one net.

    Returns
    -------
    ndarray of shape (n, D), float32
        Elementwise.
    """
    return np.asarray(np.max(np.stack(scales), axis=0), dtype=np.float32)


AGGREGATORS: dict[str, Combine | None] = {"stack": None, "average": average, "max": maximum}
"""How the scales of a net become one part of the row; None: each scale is a part of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One of the pieces that are put side by side to make a row.

    Parameters
    ----------
    sources : tuple of Source
        One, or all scales of a net.
    combine : callable or None
        Makes one out of them; None where there is only one.
    unit : bool
        Whether each image's piece is given unit length.
    """

    sources: tuple[Source, ...]
    combine: Combine | None
    unit: bool

    def chunks(self) -> Iterator[Float32]:
        """Read the part from beginning to end.

        Yields
        ------
        ndarray of shape (n, D), float32
            Consecutive rows.

        Raises
        ------
        FeatureError
            If a row is zero, by its scales cancelling or where it is to get unit length, or scales differ in size.
        """
        start = 0
        for scales in zip(*(source.chunks() for source in self.sources), strict=True):
            if len({scale.shape for scale in scales}) > 1:
                _refuse(self.sources[0], self.sources[1])
            ids = self.sources[0].ids[start : start + len(scales[0])]
            start += len(ids)
            chunk = scales[0]
            if self.combine is not None:
                chunk = self.combine(scales)
                check_rows(ids, chunk, "aggregation")
            yield unit_rows(chunk, ids) if self.unit else chunk


class FeatureParts:
    """The features of all images as what they are made of. Only `read` ever holds whole rows of all images.

    Parameters
    ----------
    nets : sequence of sequences of Source
        For each net its scales, ascending; all of the same images in the same order.
    aggregator : callable or None
        One of `AGGREGATORS`.
    l2 : {"none", "block", "global", "both"}
        ``block`` gives each part that is put side by side unit length (every scale of every net when stacking, every
        net otherwise), ``global`` the whole row, ``both`` first the one and then the other.

    Raises
    ------
    FeatureError
        If the sources are of different images.

    References
    ----------
    Simonyan & Zisserman (2015), Appendix B.
    """

    def __init__(self, nets: Sequence[Sequence[Source]], aggregator: Combine | None, l2: L2) -> None:
        self.ids = nets[0][0].ids
        for source in (source for scales in nets for source in scales):
            if source.ids != self.ids:
                _refuse(nets[0][0], source)
        pieces = [
            group for scales in nets for group in ([(s,) for s in scales] if aggregator is None else [tuple(scales)])
        ]
        # A single piece is the row.
        unit = l2 in {"block", "both"} or (l2 == "global" and len(pieces) == 1)
        self.parts = tuple(Part(group, aggregator, unit) for group in pieces)
        self._l2 = l2

    @cached_property
    def dimensions(self) -> int:
        """Length of a row."""
        return sum(next(part.chunks()).shape[1] for part in self.parts)

    @cached_property
    def lengths(self) -> Float64:
        """What each row is divided by once its parts are side by side; (N,), 1 where the recipe divides by nothing."""
        if self._l2 == "both":
            return np.full(len(self.ids), np.sqrt(len(self.parts)))
        if self._l2 != "global" or len(self.parts) == 1:
            return np.ones(len(self.ids))
        squares = [np.concatenate([_squares(chunk) for chunk in part.chunks()]) for part in self.parts]
        lengths: Float64 = np.sqrt(np.sum(squares, axis=0))
        return lengths

    def chunks(self) -> Iterator[Float32]:
        """Read whole rows, a chunk of images at a time.

        Yields
        ------
        ndarray of shape (n, `dimensions`), float32
            Consecutive rows.
        """
        start = 0
        for pieces in zip(*(part.chunks() for part in self.parts), strict=True):
            rows = np.concatenate(pieces, axis=1)
            lengths = self.lengths[start : start + len(rows), None]
            start += len(rows)
            yield rows if (lengths == 1).all() else (rows / lengths).astype(np.float32)

    def read(self) -> Features:
        """Read all rows into memory, as the reference solver wants them.

        Returns
        -------
        Features
            (N, `dimensions`), float32.
        """
        return Features(ids=self.ids, array=np.concatenate(list(self.chunks())))


def unit_rows(array: Float32, ids: Sequence[str]) -> Float32:
    """Divide every row by its Euclidean length.

    Parameters
    ----------
    array : ndarray of shape (n, D), float32
        Rows.
    ids : sequence of str
        Whose they are, for the message.

    Returns
    -------
    ndarray of shape (n, D), float32
        Lengths are computed in float64.

    Raises
    ------
    FeatureError
        If a row is zero: it has no direction.
    """
    squares = _squares(array)
    if not squares.all():
        msg = f"the features of image {ids[int(squares.argmin())]!r} are zero, so they cannot be given unit length"
        raise FeatureError(msg)
    unit: Float32 = (array / np.sqrt(squares)[:, None]).astype(np.float32)
    return unit


def _squares(array: Float32) -> Float64:
    squares: Float64 = np.einsum("nd,nd->n", array, array, dtype=np.float64)
    return squares


def _refuse(one: Source, other: Source) -> None:
    msg = f"blocks do not belong together: {one.name} and {other.name} are of other images or of different sizes"
    raise FeatureError(msg)
