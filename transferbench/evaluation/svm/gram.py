"""Gram algebra: the matrix of stacked features is the sum of the matrices of what is stacked, so nothing is stacked.

A part is in memory as a whole while its own matrix is added; then the next one takes its place.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from transferbench.evaluation.aggregate import FeatureParts, Part
from transferbench.evaluation.svm import kernels
from transferbench.evaluation.svm.gram_file import DamagedGramError
from transferbench.evaluation.svm.gram_store import GramStore
from transferbench.evaluation.svm.operators import Matrix
from transferbench.evaluation.svm.threads import in_ranges
from transferbench.types.arrays import Float64

FLOAT64_UP_TO = 2048
"""Images up to which everything is in float64: there the Gram matrix is small, and extreme values of C stay exact."""
_ROWS_AT_ONCE = 1024


def working_type(n: int) -> np.dtype[Any]:
    """Choose the type of a Gram matrix.

    Parameters
    ----------
    n : int
        Number of images.

    Returns
    -------
    dtype
        float64 up to `FLOAT64_UP_TO` images, float32 beyond.
    """
    return np.dtype(np.float64 if n <= FLOAT64_UP_TO else np.float32)


def gram_matrix(features: FeatureParts, ids: Sequence[str], bias: float, store: GramStore | None = None) -> Matrix:
    """Compute the Gram matrix of some images.

    Parameters
    ----------
    features : FeatureParts
        Of all images.
    ids : sequence of str
        n of them; the order of rows and columns.
    bias : float
        ``intercept_scaling``: its square is added to every entry, as for a feature of that value.
    store : GramStore, optional
        Where matrices of parts are found and kept.

    Returns
    -------
    ndarray of shape (n, n)
        Symmetric; of `working_type`.
    """
    position = {image_id: row for row, image_id in enumerate(ids)}
    target = np.array([position.get(image_id, -1) for image_id in features.ids], dtype=np.int64)
    half: Matrix | None = None
    while half is None:
        # A damaged matrix has been deleted when it is told of, so this ends.
        with suppress(DamagedGramError):
            half = _summed(features.parts, target, ids, store)
    return _completed(half.T, features.lengths[target >= 0][np.argsort(target[target >= 0])], bias)


def gram_of_rows(rows: Matrix, bias: float) -> Matrix:
    """Compute the Gram matrix of rows in memory.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Features.
    bias : float
        As for `gram_matrix`.

    Returns
    -------
    ndarray of shape (n, n)
        Of `working_type`.
    """
    n = len(rows)
    half = np.zeros((n, n), dtype=working_type(n), order="F")
    return _completed(_add_square(half, rows.astype(half.dtype, copy=False)).T, np.ones(n), bias)


def sub_matrix(gram: Matrix, rows: NDArray[np.int64]) -> Matrix:
    """Copy the matrix of some of the images.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        Of all.
    rows : ndarray of shape (m,), int64
        Which, and in which order.

    Returns
    -------
    ndarray of shape (m, m)
        `gram` itself if they are all of them in order.
    """
    if len(rows) == len(gram) and (rows == np.arange(len(gram))).all():
        return gram
    return cut(gram, rows, rows)


def cut(gram: Matrix, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Matrix:
    """Copy some rows and columns of a matrix.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        Of all images.
    rows : ndarray of shape (m,), int64
        Which, and in which order.
    columns : ndarray of shape (p,), int64
        Likewise.

    Returns
    -------
    ndarray of shape (m, p)
        A copy.
    """
    result = np.empty((len(rows), len(columns)), gram.dtype)
    in_ranges(len(rows), lambda first, last: kernels.gather(gram, rows, columns, first, last, result))
    return result


def _summed(parts: Sequence[Part], target: NDArray[np.int64], ids: Sequence[str], store: GramStore | None) -> Matrix:
    """Add up the parts' matrices: the lower half of the result, by columns."""
    n = len(ids)
    half = np.zeros((n, n), dtype=working_type(n), order="F")
    for part in parts:
        if store is not None and store.add_to(half, part, ids):
            continue
        rows = rows_of_part(part, target, n, half.dtype)
        if store is None or not store.would_keep(n, rows.shape[1], part):
            half = _add_square(half, rows)
        else:
            with store.keeping(part, ids, half.dtype) as keep:
                _add_blocks(half, rows, keep)
        del rows  # before the next ones take their memory
    if store is not None:
        store.settle()
    return half


def rows_of_part(part: Part, target: NDArray[np.int64], n: int, dtype: np.dtype[Any]) -> Matrix:
    """Read some rows of a part into memory.

    Parameters
    ----------
    part : Part
        Of all images.
    target : ndarray of shape (N,), int64
        Where each image's row goes; -1 if it is not wanted.
    n : int
        How many are wanted.
    dtype : dtype
        Of the result.

    Returns
    -------
    ndarray of shape (n, D)
        In the order that `target` says.
    """
    rows: Matrix | None = None
    start = 0
    for chunk in part.chunks():
        places = target[start : start + len(chunk)]
        start += len(chunk)
        if rows is None:
            rows = np.empty((n, chunk.shape[1]), dtype)
        rows[places[places >= 0]] = chunk[places >= 0]
    if rows is None:
        msg = "there are no images"
        raise ValueError(msg)
    return rows


def _add_square(half: Matrix, rows: Matrix) -> Matrix:
    """Add X X' to the lower half; column by column, what BLAS calls the upper half is the lower half of the rows."""
    update = blas.dsyrk if half.dtype == np.float64 else blas.ssyrk
    result: Matrix = update(1.0, rows.T, 1.0, half, trans=1, lower=0, overwrite_c=1)
    return result


def _add_blocks(half: Matrix, rows: Matrix, keep: Callable[[Matrix], None]) -> None:
    """Add X X' to the lower half, a block of rows at a time, each of which is handed on: there is no second matrix."""
    by_rows = half.T
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        last = min(first + _ROWS_AT_ONCE, len(rows))
        block = rows[first:last] @ rows[:last].T
        keep(block)
        target = by_rows[first:last, :last]
        in_ranges(last - first, partial(_add_range, target, block))


def _add_range(target: Matrix, block: Matrix, first: int, last: int) -> None:
    target[first:last] += block[first:last]


def _completed(gram: Matrix, lengths: Float64, bias: float) -> Matrix:
    """Fill the other half, divide by the lengths of whole rows, add the bias; all in place."""
    in_ranges(-(-len(gram) // kernels.TILE), lambda first, last: kernels.mirror(gram, first, last))
    factors = (1.0 / lengths).astype(gram.dtype)
    if not (factors == 1).all():
        gram *= factors
        gram *= factors[:, None]
    gram += gram.dtype.type(bias * bias)
    return gram
