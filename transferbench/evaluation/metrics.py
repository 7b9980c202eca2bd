"""Metrics. Every number says what it is; docs/metrics.md has the definitions."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from transferbench.errors import EvaluationError
from transferbench.types.arrays import Float64, Int8, Int64

MEAN_CLASS_RECALL = "mean class recall"
AveragePrecision = Literal["eleven_point", "area", "non_interpolated"]
"""The definitions of average precision, as dataset records name them."""


def confusion_matrix(truth: Int64, predicted: Int64, n_classes: int) -> Int64:
    """Count predictions by true class.

    Parameters
    ----------
    truth, predicted : ndarray of shape (n,), int64
        Class numbers below `n_classes`.
    n_classes : int
        K.

    Returns
    -------
    ndarray of shape (K, K), int64
        Rows are true classes, columns predictions.
    """
    return (
        np.bincount(truth * n_classes + predicted, minlength=n_classes**2)
        .reshape(n_classes, n_classes)
        .astype(np.int64)
    )


def class_recalls(confusion: Int64) -> Float64:
    """Compute the part of each class's images that is recognised.

    Parameters
    ----------
    confusion : ndarray of shape (K, K), int64
        As from `confusion_matrix`.

    Returns
    -------
    ndarray of shape (K,), float64
        In [0, 1].

    Raises
    ------
    EvaluationError
        If a class has no image: its recall is undefined, and leaving it out would change the mean silently.
    """
    totals = confusion.sum(axis=1)
    if not totals.all():
        msg = f"class number {int((totals == 0).argmax())} has no image to test on, so its recall is undefined"
        raise EvaluationError(msg)
    recalls: Float64 = np.diagonal(confusion) / totals
    return recalls


def top_k_error(truth: Int64, scores: Float64, k: int) -> float:
    """Compute the part of images whose class is not among the k most likely ones.

    Parameters
    ----------
    truth : ndarray of shape (n,), int64
        Class numbers below K.
    scores : ndarray of shape (n, K), float64
        Larger means more likely. Of equal scores the class with the smaller number ranks first.
    k : int
        At least 1.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    EvaluationError
        If there are no images, fewer than k classes, or a score is not finite.

    References
    ----------
    Russakovsky et al. (2015), ImageNet Large Scale Visual Recognition Challenge: the classification error, k = 1 or 5.

    Examples
    --------
    >>> top_k_error(np.array([2, 0]), np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]]), 1)
    0.5
    """
    if not len(truth) or not 1 <= k <= scores.shape[1]:
        msg = (
            f"a top-{k} error needs images and {k} classes, there are {len(truth)} images and {scores.shape[1]} classes"
        )
        raise EvaluationError(msg)
    if not np.isfinite(scores).all():
        msg = f"the scores of image number {int((~np.isfinite(scores)).any(axis=1).argmax())} are not finite"
        raise EvaluationError(msg)
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    first_of_equals = (scores == own) & (np.arange(scores.shape[1]) < truth[:, None])
    ahead = ((scores > own) | first_of_equals).sum(axis=1)
    return float((ahead >= k).mean())


def average_precision_11_point(truth: Int8, scores: Float64) -> float:
    """Average the best precision at recalls of at least 0, 0.1 ... 1: the VOC-2007 definition.

    Parameters
    ----------
    truth : ndarray of shape (n,), int8
        +1, -1, or 0 (difficult: left out, neither right nor wrong).
    scores : ndarray of shape (n,), float64
        Larger means more certain. Of equal scores the one earlier in the list ranks first, as in the VOC development
        kit.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    EvaluationError
        If no image is positive, or a score is not finite.

    References
    ----------
    PASCAL VOC 2007 development kit, ``VOCevalcls``.

    Examples
    --------
    >>> round(average_precision_11_point(np.array([1, -1, 1, -1, 1]), np.arange(5.0)[::-1]), 6)
    0.763636
    """
    hits, precision = _ranked(truth, scores)
    # Recalls are compared as whole numbers: 3/5 >= 0.6000000000000001 would be false.
    reached = [precision[10 * hits >= tenth * hits[-1]].max(initial=0.0) for tenth in range(11)]
    return float(np.sum(reached) / 11)


def average_precision_area(truth: Int8, scores: Float64) -> float:
    """Compute the area under the precision-recall curve made monotone: the definition of VOC from 2010 on.

    Parameters
    ----------
    truth, scores : ndarray of shape (n,)
        As for `average_precision_11_point`.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    EvaluationError
        As for `average_precision_11_point`.

    References
    ----------
    PASCAL VOC 2010 development kit, ``VOCap``.
    """
    hits, precision = _ranked(truth, scores)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return _mean_at_hits(envelope, hits)


def average_precision_non_interpolated(truth: Int8, scores: Float64) -> float:
    """Average the precision at the rank of every positive image.

    Parameters
    ----------
    truth, scores : ndarray of shape (n,)
        As for `average_precision_11_point`.

    Returns
    -------
    float
        In [0, 1]; that of scikit-learn's `average_precision_score` when no two scores are equal.

    Raises
    ------
    EvaluationError
        As for `average_precision_11_point`.
    """
    hits, precision = _ranked(truth, scores)
    return _mean_at_hits(precision, hits)


def precision_recall(truth: Int8, scores: Float64) -> tuple[Float64, Float64]:
    """Trace the precision-recall curve, made monotone as VOC's kit does.

    Parameters
    ----------
    truth, scores : ndarray of shape (n,)
        As for `average_precision_11_point`.

    Returns
    -------
    recall, precision : ndarray of shape (p,), float64
        At the rank of every positive, most certain first; the area under these steps is `average_precision_area`.

    Raises
    ------
    EvaluationError
        As for `average_precision_11_point`.
    """
    hits, precision = _ranked(truth, scores)
    at_positive = np.diff(hits, prepend=0) > 0
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return hits[at_positive] / hits[-1], envelope[at_positive]


AVERAGE_PRECISIONS: dict[AveragePrecision, Callable[[Int8, Float64], float]] = {
    "eleven_point": average_precision_11_point,
    "area": average_precision_area,
    "non_interpolated": average_precision_non_interpolated,
}


def mean_average_precision(definition: AveragePrecision) -> str:
    """Name the metric.

    Parameters
    ----------
    definition : {"eleven_point", "area", "non_interpolated"}
        Of average precision.

    Returns
    -------
    str
        As results show it.
    """
    words = {"eleven_point": "11-point", "area": "area", "non_interpolated": "non-interpolated"}
    return f"mean average precision ({words[definition]})"


def mean_and_std(values: list[float]) -> tuple[float, float | None]:
    """Summarise splits.

    Parameters
    ----------
    values : list of float
        One per split.

    Returns
    -------
    tuple of float and float or None
        Mean, and standard deviation with n - 1 in the denominator; None for a single split. The paper does not say
        which denominator it uses.
    """
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def _ranked(truth: Int8, scores: Float64) -> tuple[Int64, Float64]:
    """Return true positives and precision after each image, most certain first."""
    # A score that is no number would be ranked last, and the result would look like any other.
    if not np.isfinite(scores).all():
        msg = f"the score of image number {int((~np.isfinite(scores)).argmax())} is not finite"
        raise EvaluationError(msg)
    if not (truth > 0).any():
        msg = "no image is positive, so average precision is undefined"
        raise EvaluationError(msg)
    counted = truth != 0
    positive = truth[counted][np.argsort(-scores[counted], kind="stable")] > 0
    hits = np.cumsum(positive, dtype=np.int64)
    return hits, hits / np.arange(1, len(hits) + 1)


def _mean_at_hits(precision: Float64, hits: Int64) -> float:
    return float((precision * np.diff(hits, prepend=0)).sum() / hits[-1])
