"""Results image by image: what statistics are made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transferbench.errors import EvaluationError
from transferbench.evaluation.metrics import AVERAGE_PRECISIONS, AveragePrecision
from transferbench.types.arrays import Float64, Int8, Int64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassTest:
    """One split of a result on images with one class each.

    Parameters
    ----------
    ids : tuple of str
        n test images.
    truth : ndarray of shape (n,), int64
        Class numbers.
    right : ndarray of shape (n,), bool
        Whether the image was recognised.
    """

    ids: tuple[str, ...]
    truth: Int64
    right: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelTest:
    """One split of a result on images with any number of classes.

    Parameters
    ----------
    ids : tuple of str
        n test images.
    truth : ndarray of shape (n, K), int8
        +1, -1, or 0 (left out).
    scores : ndarray of shape (n, K), float64
        Larger means more certain.
    """

    ids: tuple[str, ...]
    truth: Int8
    scores: Float64


Tests = Sequence[ClassTest] | Sequence[LabelTest]
Measure = Literal["mean class recall", "accuracy"] | AveragePrecision


def value_of(tests: Tests, measure: Measure) -> float:
    """Compute a measure, averaged over the splits.

    Parameters
    ----------
    tests : sequence of ClassTest or LabelTest
        One per split.
    measure : str
        ``mean class recall`` or ``accuracy``, or a definition of average precision.

    Returns
    -------
    float
        In [0, 1].
    """
    return float(np.mean([_value(test, measure) for test in tests]))


def _value(test: ClassTest | LabelTest, measure: Measure) -> float:
    if isinstance(test, LabelTest):
        measured = AVERAGE_PRECISIONS[definition_of(measure)]
        return float(np.mean([measured(test.truth[:, k], test.scores[:, k]) for k in range(test.truth.shape[1])]))
    group = _groups(test, measure)
    return float(np.mean(np.bincount(group, test.right)[np.unique(group)] / np.bincount(group)[np.unique(group)]))


def _groups(test: ClassTest, measure: Measure) -> Int64:
    return test.truth if measure == "mean class recall" else np.zeros(len(test.ids), dtype=np.int64)


def definition_of(measure: Measure) -> AveragePrecision:
    """Take a measure of images with several classes.

    Parameters
    ----------
    measure : str
        Any.

    Returns
    -------
    str
        A definition of average precision.

    Raises
    ------
    EvaluationError
        If it is a measure of images with one class.
    """
    if measure not in AVERAGE_PRECISIONS:
        msg = f"{measure} is not for images with several classes; use one of {', '.join(AVERAGE_PRECISIONS)}"
        raise EvaluationError(msg)
    return measure


def numbered_images(tests: Tests) -> dict[str, int]:
    """Give the different test images of all splits their numbers.

    Parameters
    ----------
    tests : sequence of ClassTest or LabelTest
        One per split.

    Returns
    -------
    dict of str to int
        Id to number, in the order of first appearance.
    """
    return {image_id: row for row, image_id in enumerate(dict.fromkeys(i for test in tests for i in test.ids))}


def rows_by_group(tests: Sequence[ClassTest], measure: Measure) -> Iterator[Int64]:
    """Gather the images that are resampled among themselves.

    Parameters
    ----------
    tests : sequence of ClassTest
        One per split.
    measure : str
        Within a class for mean class recall, all together for accuracy.

    Yields
    ------
    ndarray of int64
        Numbers of images, as `numbered_images` gives them.
    """
    row_of = numbered_images(tests)
    group = np.empty(len(row_of), dtype=np.int64)
    for test in tests:
        group[[row_of[i] for i in test.ids]] = _groups(test, measure)
    order = np.argsort(group, kind="stable")
    yield from (rows.astype(np.int64) for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1))


def shares(tests: Sequence[ClassTest], measure: Measure) -> tuple[Float64, Float64]:
    """Divide a measure among the images.

    Parameters
    ----------
    tests : sequence of ClassTest
        One per split.
    measure : str
        ``mean class recall`` or ``accuracy``.

    Returns
    -------
    tuple of two ndarrays of shape (N,), float64
        What each image adds (the sum is the measure), and what it would add if it were like the mean of its group in
        every split.
    """
    row_of = numbered_images(tests)
    added, level = np.zeros(len(row_of)), np.zeros(len(row_of))
    for test in tests:
        rows = [row_of[i] for i in test.ids]
        _, group, counts = np.unique(_groups(test, measure), return_inverse=True, return_counts=True)
        weight = 1.0 / (len(tests) * len(counts) * counts[group])
        added[rows] += weight * test.right
        level[rows] += weight * (np.bincount(group, test.right) / counts)[group]
    return added, level
