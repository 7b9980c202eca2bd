"""Metrics. Every number says what it is; docs/metrics.md has the definitions."""

import numpy as np

from transferbench.errors import EvaluationError
from transferbench.types import Float64, Int64

MEAN_CLASS_RECALL = "mean class recall"


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
