"""Scores of test images, part by part of the features: a score is the sum over the parts, as the Gram matrix is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.aggregate import FeatureParts, Part
from transferbench.evaluation.svm.choice import memory_of_machine
from transferbench.evaluation.svm.gram import rows_of_part, working_type
from transferbench.evaluation.svm.operators import Matrix
from transferbench.types.arrays import Float64

_SLAB = 2048
_ROWS_IN_MEMORY_PART = 0.15
_Numbers = NDArray[np.int64]
Machine = tuple[Sequence[str], Float64]
"""The n ids trained on and the (K, n) coefficients."""


def scores_of_tests(
    features: FeatureParts,
    machines: Sequence[Machine],
    tests: Sequence[Sequence[str]],
    bias: float,
) -> list[Float64]:
    """Score images by machines that are given by their coefficients, by weight vectors or by inner products of images.

    Weight vectors take K d (n + m) operations, inner products n m d: the latter pay where many classes meet few images.

    Parameters
    ----------
    features : FeatureParts
        Of all images.
    machines : sequence of Machine
        One per split.
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
    machines: Sequence[Machine],
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
        rows = rows_of_part(part, everybody, len(everybody), dtype)
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
    machines: Sequence[Machine],
    tests: Sequence[Sequence[str]],
    bias: float,
) -> list[Float64]:
    """Score images by weight vectors; see `scores_of_tests` for everything else.

    A part is read once, where all of its rows have room in memory, and twice otherwise.
    """
    n = len(features.ids)
    dtype = working_type(max((len(ids) for ids, _ in machines), default=0))
    row_of = {image_id: row for row, image_id in enumerate(features.ids)}
    divisor = features.lengths
    splits = [_Scored.of(machine, test, row_of, divisor, dtype) for machine, test in zip(machines, tests, strict=True)]
    for part in features.parts:
        _add_scores(part, n, splits, dtype)
    result = []
    for split, (_, coefficients) in zip(splits, machines, strict=True):
        scores = np.empty_like(split.scores)
        scores[split.order] = split.scores / divisor[split.tested, None]
        result.append(scores + bias * bias * coefficients.sum(axis=1))
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """A split being scored. Rows of images ascend, so that a slab's are neighbours; `order` leads back."""

    trained: _Numbers
    coefficients: Matrix
    tested: _Numbers
    order: _Numbers
    scores: Float64

    @classmethod
    def of(
        cls, machine: Machine, test: Sequence[str], row_of: dict[str, int], divisor: Float64, dtype: np.dtype[Any]
    ) -> "_Scored":
        ids, given = machine
        trained, tested = (np.array([row_of[i] for i in some], dtype=np.int64) for some in (ids, test))
        by_row, order = np.argsort(trained), np.argsort(tested, kind="stable")
        coefficients = (given[:, by_row] / divisor[trained[by_row]]).astype(dtype)
        return cls(trained[by_row], coefficients, tested[order], order, np.zeros((len(test), len(given))))


def _add_scores(part: Part, n: int, splits: Sequence[_Scored], dtype: np.dtype[Any]) -> None:
    weights: list[Matrix | None] = [None] * len(splits)
    kept: list[tuple[int, Matrix]] | None = []
    for start, slab in _slabs(part, dtype):
        if kept is not None:
            kept.append((start, slab))
        if slab[0].nbytes * n > _ROWS_IN_MEMORY_PART * memory_of_machine():
            kept = None
        for number, split in enumerate(splits):
            here = _within(split.trained, start, slab)
            added = split.coefficients[:, here] @ slab[split.trained[here] - start]
            before = weights[number]
            weights[number] = added if before is None else np.add(before, added, out=before)
    for start, slab in _slabs(part, dtype) if kept is None else kept:
        for weight, split in zip(weights, splits, strict=True):
            assert weight is not None  # noqa: S101 - every slab makes it one
            here = _within(split.tested, start, slab)
            split.scores[here] += slab[split.tested[here] - start] @ weight.T


def _within(rows: _Numbers, start: int, slab: Matrix) -> slice:
    """Find which of ascending rows are a slab's."""
    first, last = np.searchsorted(rows, [start, start + len(slab)])
    return slice(int(first), int(last))


def _slabs(part: Part, dtype: np.dtype[Any]) -> Iterator[tuple[int, Matrix]]:
    """Gather chunks: small products would wait for the threads that read, and those for them."""
    start, waiting, n = 0, [], 0
    for chunk in part.chunks():
        waiting.append(chunk.astype(dtype, copy=False))
        n += len(chunk)
        if n >= _SLAB:
            yield start, np.concatenate(waiting)
            start, waiting, n = start + n, [], 0
    if n:
        yield start, np.concatenate(waiting)
