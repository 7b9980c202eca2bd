"""From descriptors of several nets and scales to one row of features per image."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from transferbench.errors import FeatureError
from transferbench.types import Descriptors, Features, Float32

L2 = Literal["none", "block", "global", "both"]

Aggregator = Callable[[Sequence[Float32]], list[Float32]]
"""Maps one net's scales, each (N, D), to the parts of the final row that are put side by side."""


def stack(scales: Sequence[Float32]) -> list[Float32]:
    """Keep every scale as a part of its own.

    Parameters
    ----------
    scales : sequence of ndarray of shape (N, D), float32
        Ascending scales of one net.

    Returns
    -------
    list of ndarray of shape (N, D), float32
        Unchanged.
    """
    return list(scales)


def average(scales: Sequence[Float32]) -> list[Float32]:
    """Average over the scales.

    Parameters
    ----------
    scales : sequence of ndarray of shape (N, D), float32
        Ascending scales of one net.

    Returns
    -------
    list of one ndarray of shape (N, D), float32
        Summed in float64, so the order of the scales does not matter.
    """
    total = np.sum(np.stack(scales), axis=0, dtype=np.float64)
    return [np.asarray(total / len(scales), dtype=np.float32)]


def maximum(scales: Sequence[Float32]) -> list[Float32]:
    """Take the largest value over the scales.

    Parameters
    ----------
    scales : sequence of ndarray of shape (N, D), float32
        Ascending scales of one net.

    Returns
    -------
    list of one ndarray of shape (N, D), float32
        Elementwise.
    """
    return [np.asarray(np.max(np.stack(scales), axis=0), dtype=np.float32)]


AGGREGATORS: dict[str, Aggregator] = {"stack": stack, "average": average, "max": maximum}


def aggregate(nets: Sequence[Sequence[Descriptors]], aggregator: Aggregator, l2: L2) -> Features:
    """Aggregate the scales of each net, then put the nets side by side.

    Parameters
    ----------
    nets : sequence of sequences of Descriptors
        For each net its scales, ascending; all of the same images in the same order.
    aggregator : callable
        One of `AGGREGATORS`.
    l2 : {"none", "block", "global", "both"}
        ``block`` gives each part that is put side by side unit length (every scale of every net when stacking, every
        net otherwise), ``global`` the whole row, ``both`` first the one and then the other.

    Returns
    -------
    Features
        (N, total dimensions), float32.

    Raises
    ------
    FeatureError
        If the blocks are of different images or sizes, or a row is zero.

    References
    ----------
    Simonyan & Zisserman (2015), Appendix B.
    """
    ids = nets[0][0].ids
    parts: list[Float32] = []
    for scales in nets:
        for block in scales:
            if block.ids != ids or block.array.shape[1] != scales[0].array.shape[1]:
                msg = (
                    f"blocks do not belong together: {scales[0].spec.net} at "
                    f"{scales[0].spec.short_side_px} px and {block.spec.net} at {block.spec.short_side_px} px"
                )
                raise FeatureError(msg)
        parts += aggregator([block.array for block in scales])
    if l2 in {"block", "both"}:
        parts = [unit_rows(part) for part in parts]
    rows = np.concatenate(parts, axis=1)
    return Features(ids=ids, array=unit_rows(rows) if l2 in {"global", "both"} else rows)


def unit_rows(array: Float32) -> Float32:
    """Divide every row by its Euclidean length.

    Parameters
    ----------
    array : ndarray of shape (N, D), float32
        No zero row: `Descriptors` refuses them.

    Returns
    -------
    ndarray of shape (N, D), float32
        Lengths are computed in float64.
    """
    lengths = np.sqrt(np.einsum("nd,nd->n", array, array, dtype=np.float64))
    unit: Float32 = (array / lengths[:, None]).astype(np.float32)
    return unit
