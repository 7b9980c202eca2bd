"""Gram algebra: the matrix of stacked features is the sum of the matrices of what is stacked, so nothing is stacked.

A part is in memory as a whole while its own matrix is added; then the next one takes its place. Test scores are
computed in the primal form, part by part too: the weight vector of a part is the sum of its rows, and a score the sum
over the parts.
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
_TILE = 64
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
    result = np.empty((len(rows), len(rows)), gram.dtype)
    in_ranges(len(rows), lambda first, last: kernels.gather(gram, rows, rows, first, last, result))
    return result


def scores_of_tests(
    features: FeatureParts,
    machines: Sequence[tuple[Sequence[str], Float64]],
    tests: Sequence[Sequence[str]],
    bias: float,
) -> list[Float64]:
    """Score images by machines that are given by their coefficients, by weight vectors or by inner products of images.

    Weight vectors take K d (n + m) operations and two readings of the features, inner products n m d and one: the
    latter pay where many classes meet few images.

    Parameters
    ----------
    features : FeatureParts
        Of all images.
    machines : sequence of tuple
        For every split the n ids trained on and the (K, n) coefficients.
    tests : sequence of sequences of str
        For every split the m ids to score.
    bias : float
        ``intercept_scaling``.

    Returns
    -------
    list of ndarray of shape (m, K), float64
        Decision values of every split.
    """
    sizes = [(len(b), len(ids), len(test)) for (ids, b), test in zip(machines, tests, strict=True)]
    if sum(n * m for _, n, m in sizes) < sum(k * (n + m) for k, n, m in sizes):
        return dual_scores(features, machines, tests, bias)
    return primal_scores(features, machines, tests, bias)


def dual_scores(
    features: FeatureParts,
    machines: Sequence[tuple[Sequence[str], Float64]],
    tests: Sequence[Sequence[str]],
    bias: float,
) -> list[Float64]:
    """Score images by their inner products with the images trained on; see `scores_of_tests` for everything else."""
    dtype = working_type(max((len(ids) for ids, _ in machines), default=0))
    row_of = {image_id: row for row, image_id in enumerate(features.ids)}
    places = [
        (np.array([row_of[i] for i in ids]), np.array([row_of[i] for i in test], dtype=np.int64))
        for (ids, _), test in zip(machines, tests, strict=True)
    ]
    crosses = [np.zeros((len(test), len(train)), dtype) for train, test in places]
    everybody = np.arange(len(features.ids))
    for part in features.parts:
        rows = _rows(part, everybody, len(everybody), dtype)
        for cross, (train, test) in zip(crosses, places, strict=True):
            np.add(cross, rows[test] @ rows[train].T, out=cross)
    result = []
    for cross, (train, test), (_, coefficients) in zip(crosses, places, machines, strict=True):
        scaled = coefficients / features.lengths[train]
        scores = cross.astype(np.float64) @ scaled.T / features.lengths[test, None]
        result.append(scores + bias * bias * coefficients.sum(axis=1))
    return result


def primal_scores(
    features: FeatureParts,
    machines: Sequence[tuple[Sequence[str], Float64]],
    tests: Sequence[Sequence[str]],
    bias: float,
) -> list[Float64]:
    """Score images by weight vectors, reading the features twice; see `scores_of_tests` for everything else."""
    n = len(features.ids)
    dtype = working_type(max((len(ids) for ids, _ in machines), default=0))
    row_of = {image_id: row for row, image_id in enumerate(features.ids)}
    n_classes = [len(coefficients) for _, coefficients in machines]
    edges = np.concatenate([[0], np.cumsum(n_classes)])
    combined = np.zeros((edges[-1], n), dtype=dtype)
    for (ids, coefficients), start in zip(machines, edges, strict=False):
        combined[start : start + len(coefficients), [row_of[i] for i in ids]] = coefficients
    biases = bias * bias * combined.sum(axis=1, dtype=np.float64)
    combined /= features.lengths[None, :].astype(dtype)
    wanted = np.zeros(n, dtype=bool)
    wanted[[row_of[i] for ids in tests for i in ids]] = True
    total = np.zeros((n, edges[-1]))
    for part in features.parts:
        _add_scores(part, combined, wanted, total)
    total /= features.lengths[:, None]
    total += biases
    return [
        total[[row_of[i] for i in ids], start : start + width]
        for ids, start, width in zip(tests, edges, n_classes, strict=False)
    ]


def _summed(parts: Sequence[Part], target: NDArray[np.int64], ids: Sequence[str], store: GramStore | None) -> Matrix:
    """Add up the parts' matrices: the lower half of the result, by columns."""
    n = len(ids)
    half = np.zeros((n, n), dtype=working_type(n), order="F")
    for part in parts:
        if store is not None and store.add_to(half, part, ids):
            continue
        rows = _rows(part, target, n, half.dtype)
        if store is None or not store.would_keep(n, rows.shape[1], part):
            half = _add_square(half, rows)
        else:
            with store.keeping(part, ids, half.dtype) as keep:
                _add_blocks(half, rows, keep)
        del rows  # before the next ones take their memory
    if store is not None:
        store.settle()
    return half


def _rows(part: Part, target: NDArray[np.int64], n: int, dtype: np.dtype[Any]) -> Matrix:
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
    in_ranges(-(-len(gram) // _TILE), lambda first, last: kernels.mirror(gram, first, last))
    factors = (1.0 / lengths).astype(gram.dtype)
    if not (factors == 1).all():
        gram *= factors
        gram *= factors[:, None]
    gram += gram.dtype.type(bias * bias)
    return gram


def _add_scores(part: Part, coefficients: Matrix, wanted: NDArray[np.bool_], total: Float64) -> None:
    weights: Matrix | None = None
    start = 0
    for chunk in part.chunks():
        added = coefficients[:, start : start + len(chunk)] @ chunk.astype(coefficients.dtype, copy=False)
        weights = added if weights is None else np.add(weights, added, out=weights)
        start += len(chunk)
    if weights is None:
        return
    start = 0
    for chunk in part.chunks():
        here = np.flatnonzero(wanted[start : start + len(chunk)])
        total[start + here] += chunk[here].astype(weights.dtype, copy=False) @ weights.T
        start += len(chunk)
