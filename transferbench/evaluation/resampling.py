"""Average precision of many reweightings of one ranking at once: bootstrap resamples, and rankings that are swapped.

An image that is drawn w times stands w times in the ranking, its copies side by side. The weighted forms below give
exactly what the definitions in `metrics` give for that longer list; a test holds them to it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.metrics import AveragePrecision
from transferbench.types.arrays import Float64, Int8, Int64

Weights = NDArray[np.unsignedinteger[Any]]
"""(n, B): how often each of n images is in each of B resamples."""


def ranking(scores: Float64, truth: Int8) -> Int64:
    """Order images for one class.

    Parameters
    ----------
    scores : ndarray of shape (n,), float64
        Larger means more certain.
    truth : ndarray of shape (n,), int8
        +1, -1, or 0 (left out).

    Returns
    -------
    ndarray of shape (m,), int64
        Positions of the images that count, most certain first; of equal scores the earlier one first.
    """
    counted = np.flatnonzero(truth)
    return counted[np.argsort(-scores[counted], kind="stable")].astype(np.int64)


def weighted_average_precisions(order: Int64, truth: Int8, weights: Weights, definition: AveragePrecision) -> Float64:
    """Compute average precision for every column of weights.

    Parameters
    ----------
    order : ndarray of shape (m,), int64
        As `ranking` returns it.
    truth : ndarray of shape (n,), int8
        Of all images.
    weights : ndarray of shape (n, B), unsigned integer
        Copies of each image.
    definition : {"eleven_point", "area", "non_interpolated"}
        Of average precision.

    Returns
    -------
    ndarray of shape (B,), float64
        In [0, 1]; not a number where no copy of a positive image is left.
    """
    positives = np.flatnonzero(truth[order] > 0)
    if not len(positives):
        return np.full(weights.shape[1], np.nan)
    ranked = weights[order[: positives[-1] + 1]]
    copies = ranked[positives].astype(np.int32)
    # Between two positives only the number of negatives matters, so the list shrinks to its positives.
    starts = np.concatenate([[0], positives[:-1] + 1])
    total = np.cumsum(np.add.reduceat(ranked, starts, axis=0, dtype=np.int32), axis=0)
    hits = np.cumsum(copies, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = _DEFINITIONS[definition](copies, hits, total) / hits[-1]
    return np.where(hits[-1] > 0, found, np.nan)


def _area(copies: Any, hits: Any, total: Any) -> Float64:
    precision = _divided(hits, total)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return np.asarray((envelope * copies).sum(axis=0))


def _non_interpolated(copies: Any, hits: Any, total: Any) -> Float64:
    # The copies of an image have precisions (h+1)/(r+1) ... (h+w)/(r+w); their sum is w - (r-h)(H(r+w) - H(r)).
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, total[-1].max() + 1))])
    before = total - copies
    negatives = before - (hits - copies)
    return np.asarray((copies - negatives * (harmonic[total] - harmonic[before])).sum(axis=0))


def _eleven_point(_copies: Any, hits: Any, total: Any) -> Float64:
    # Best precision from each positive on; a recall level is first reached at one of them. Whole numbers: 3/5 >= 0.6.
    envelope = np.maximum.accumulate(_divided(hits, total)[::-1], axis=0)[::-1]
    columns = np.arange(hits.shape[1])
    best = [envelope[(10 * hits >= tenth * hits[-1]).argmax(axis=0), columns] for tenth in range(11)]
    return np.asarray(np.sum(best, axis=0) / 11 * hits[-1])


_DEFINITIONS: dict[AveragePrecision, Callable[[Any, Any, Any], Float64]] = {
    "eleven_point": _eleven_point,
    "area": _area,
    "non_interpolated": _non_interpolated,
}


def _divided(hits: Any, total: Any) -> Float64:
    return np.asarray(np.divide(hits, total, out=np.zeros(hits.shape), where=total > 0))
