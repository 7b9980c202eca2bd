"""How sure a number is: bootstrap intervals over test images, and paired comparisons on the same test images.

What is resampled is the test images, nothing else: these intervals say how far the number would move with other test
images of the same kind. How far it moves with other training images is what the spread over splits shows.

* **Mean class recall**: images are resampled within their class, so every class keeps its number of images. With one
  split the resampled recall of a class is a binomial count, drawn as such. An image that is tested in several splits is
  drawn for all of them together; the mean over the splits is then expanded to first order about the class recalls,
  which for one split is exact.
* **Accuracy**: the same with all images as one class.
* **Mean average precision**: images are resampled with all their labels, and every class is ranked anew. A resample
  that has lost all positive images of a class averages over the other classes.
* **Interval** of recall and accuracy, and of every difference: the 2.5th and 97.5th percentile of the resamples, moved
  for the bias of their median (Efron's BC).
* **Interval** of average precision: symmetric on the logit scale, with the resamples' standard deviation. Average
  precision of resamples is biased, because copies of a positive image stand side by side in the ranking, and with few
  positive images it is skewed; percentiles then miss the mean more often than they say (simulated: docs/metrics.md).
* **Paired bootstrap**: both results are resampled together; the p value is how often the resampled difference is as
  far from the observed one as that is from zero.
* A resample without any positive image has no average precision. Intervals and the p value of the paired bootstrap are
  of the other resamples alone; permutations keep every image.
* **Permutation test**: under the null hypothesis the two results of an image may be swapped. For average precision,
  what is swapped is the image's rank in each class, because scores of different machines have no common scale.

References
----------
Efron & Tibshirani (1993), An Introduction to the Bootstrap, Chapters 14 and 16. Phipson & Smyth (2010), Permutation
p-values should never be zero. Holm (1979), A simple sequentially rejective multiple test procedure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri

from transferbench.errors import EvaluationError
from transferbench.evaluation.metrics import AveragePrecision
from transferbench.evaluation.resampling import ranking, weighted_average_precisions
from transferbench.evaluation.tested import (
    ClassTest,
    LabelTest,
    Measure,
    Tests,
    definition_of,
    numbered_images,
    rows_by_group,
    shares,
    value_of,
)
from transferbench.types.arrays import Float64, Int64

LEVEL = 0.95
RESAMPLES = 2000
SEED = 2015
_COLUMNS = 250  # resamples held in memory at a time
_CLOSE = 1e-9

Interval = tuple[float, float]
METHOD = (
    "bootstrap over test images (within their class for mean class recall); percentiles corrected for median bias, "
    "for average precision the standard deviation on the logit scale"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Two results on the same test images.

    Parameters
    ----------
    difference : float
        Value of the first minus that of the second.
    interval : tuple of two floats
        95% bootstrap interval of the difference.
    p_bootstrap : float
        Two-sided, of the paired bootstrap: of those resamples that have a value.
    p_permutation : float
        Two-sided, of the permutation test.
    n_images : int
        Different test images.
    """

    difference: float
    interval: Interval
    p_bootstrap: float
    p_permutation: float
    n_images: int


def interval_of(tests: Tests, measure: Measure, *, n_resamples: int = RESAMPLES, seed: int = SEED) -> Interval:
    """Compute the 95% bootstrap interval of a measure over test images.

    Parameters
    ----------
    tests : sequence of ClassTest or LabelTest
        One per split.
    measure : str
        As for `value_of`.
    n_resamples : int
        B.
    seed : int
        Of the resamples.

    Returns
    -------
    tuple of two floats
        Lower and upper end.
    """
    resampled, value = _known(_resampled([tests], measure, n_resamples, seed)[0]), value_of(tests, measure)
    return _on_logits(resampled, value) if isinstance(tests[0], LabelTest) else _percentiles(resampled, value)


def compare(first: Tests, second: Tests, measure: Measure, *, n_resamples: int = RESAMPLES, seed: int = SEED) -> Paired:
    """Compare two results image by image.

    Parameters
    ----------
    first, second : sequence of ClassTest or LabelTest
        One per split; of the same images in the same order.
    measure : str
        As for `value_of`.
    n_resamples : int
        Resamples, and permutations.
    seed : int
        Of both.

    Returns
    -------
    Paired
        The difference, its interval, and two p values.

    Raises
    ------
    EvaluationError
        If the test images or their labels differ.
    """
    if not same_images(first, second):
        msg = "the two results are not of the same test images and labels, so they cannot be compared image by image"
        raise EvaluationError(msg)
    difference = value_of(first, measure) - value_of(second, measure)
    one, other = _resampled([first, second], measure, n_resamples, seed)
    resampled = _known(one - other)
    permuted = _permuted(first, second, measure, n_resamples, seed)
    return Paired(
        difference=difference,
        interval=_percentiles(resampled, difference),
        p_bootstrap=_two_sided(resampled - difference, difference),
        p_permutation=_two_sided(permuted, difference),
        n_images=len({image_id for test in first for image_id in test.ids}),
    )


def same_images(first: Tests, second: Tests) -> bool:
    """Tell whether two results can be compared image by image.

    Parameters
    ----------
    first, second : sequence of ClassTest or LabelTest
        One per split.

    Returns
    -------
    bool
        Whether they are of the same images in the same order, with the same labels.
    """
    told = [[(type(test), test.ids, test.truth.tolist()) for test in tests] for tests in (first, second)]
    return told[0] == told[1]


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for being many.

    Parameters
    ----------
    p_values : sequence of float
        Of as many tests.

    Returns
    -------
    list of float
        Adjusted, in the same order: below 0.05 means that this one holds with all the others tested as well.
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    rising = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors))
    adjusted = np.empty(len(p_values))
    adjusted[order] = rising
    return [float(p) for p in adjusted]


def _known(resampled: Float64) -> Float64:
    """Leave out resamples that have lost all positive images of every class: no number is far from nor near to any."""
    return resampled[~np.isnan(resampled)]


def _percentiles(resampled: Float64, value: float) -> Interval:
    """Take the percentile interval, corrected for the bias of the median (Efron's BC)."""
    below = np.mean(resampled < value - _CLOSE) + 0.5 * np.mean(np.abs(resampled - value) <= _CLOSE)
    inside = 0.5 / len(resampled)
    bias = ndtri(np.clip(below, inside, 1 - inside))
    ends = ndtr(2 * bias + ndtri([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    low, high = np.quantile(resampled, ends)
    return float(low), float(high)


def _on_logits(resampled: Float64, value: float) -> Interval:
    """Lay the interval symmetrically about the logit of the value, its deviation by the delta method."""
    if not 0.0 < value < 1.0:  # such a value has no logit, and its resamples hardly move
        return _percentiles(resampled, value)
    deviation = np.std(resampled, ddof=1) / (value * (1.0 - value))
    low, high = expit(logit(value) + ndtri([(1 - LEVEL) / 2, (1 + LEVEL) / 2]) * deviation)
    return float(low), float(high)


def _two_sided(null: Float64, observed: float) -> float:
    as_far = np.count_nonzero(np.abs(null) >= abs(observed) - _CLOSE)
    return float((1 + as_far) / (1 + len(null)))


def _resampled(results: Sequence[Tests], measure: Measure, n_resamples: int, seed: int) -> list[Float64]:
    """Resample results together: B values of each."""
    rng = np.random.default_rng(seed)
    if isinstance(results[0][0], LabelTest):
        return _resampled_precisions(results, definition_of(measure), n_resamples, rng)
    single = [_single(tests) for tests in results]
    centred = np.stack([share - level for share, level in (shares(tests, measure) for tests in single)], axis=1)
    totals = np.zeros((n_resamples, len(results)))
    for rows in rows_by_group(single[0], measure):
        kinds, counts = np.unique(np.round(centred[rows], 15), axis=0, return_counts=True)
        totals += rng.multinomial(len(rows), counts / len(rows), size=n_resamples) @ kinds
    return [value_of(tests, measure) + totals[:, column] for column, tests in enumerate(results)]


def _single(tests: Tests) -> list[ClassTest]:
    return [test for test in tests if isinstance(test, ClassTest)]


def _resampled_precisions(
    results: Sequence[Tests], definition: AveragePrecision, n_resamples: int, rng: np.random.Generator
) -> list[Float64]:
    row_of = numbered_images(results[0])
    n = len(row_of)
    values = [np.empty(n_resamples) for _ in results]
    measures = [[_by_weights(test, row_of, definition) for test in tests] for tests in results]
    for start in range(0, n_resamples, _COLUMNS):
        width = min(_COLUMNS, n_resamples - start)
        drawn = [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(width)]
        weights = np.stack(drawn, axis=1).astype(np.uint8)
        for into, splits in zip(values, measures, strict=True):
            into[start : start + width] = np.mean([measure(weights) for measure in splits], axis=0)
    return values


def _by_weights(
    test: Any, row_of: dict[str, int], definition: AveragePrecision
) -> Callable[[NDArray[np.uint8]], Float64]:
    """Rank once, so that every batch of resamples only counts."""
    rows = np.array([row_of[i] for i in test.ids])
    whole = len(rows) == len(row_of) and bool((rows == np.arange(len(rows))).all())
    orders = [ranking(test.scores[:, k], test.truth[:, k]) for k in range(test.truth.shape[1])]

    def measure(weights: NDArray[np.uint8]) -> Float64:
        mine = weights if whole else weights[rows]
        found = [
            weighted_average_precisions(order, test.truth[:, k], mine, definition) for k, order in enumerate(orders)
        ]
        classes_left = len(found) - np.isnan(found).sum(axis=0)
        means = np.full(len(classes_left), np.nan)
        np.divide(np.nansum(found, axis=0), classes_left, out=means, where=classes_left > 0)
        return means

    return measure


def _permuted(first: Tests, second: Tests, measure: Measure, n_resamples: int, seed: int) -> Float64:
    """Return B differences under the hypothesis that it does not matter which result is which."""
    rng = np.random.default_rng([seed, 1])
    if isinstance(first[0], LabelTest):
        return _permuted_precisions(first, second, definition_of(measure), n_resamples, rng)
    added = shares(_single(first), measure)[0] - shares(_single(second), measure)[0]
    sizes, counts = np.unique(np.round(np.abs(added[added != 0]), 15), return_counts=True)
    null: Float64 = (2.0 * rng.binomial(counts, 0.5, size=(n_resamples, len(counts))) - counts) @ sizes
    return null


def _permuted_precisions(
    first: Any, second: Any, definition: AveragePrecision, n_resamples: int, rng: np.random.Generator
) -> Float64:
    row_of = numbered_images(first)
    pairs = [_swappable(a, b, definition, rng) for a, b in zip(first, second, strict=True)]
    rows = [np.array([row_of[i] for i in test.ids]) for test in first]
    null = np.empty(n_resamples)
    for start in range(0, n_resamples, _COLUMNS):
        width = min(_COLUMNS, n_resamples - start)
        swapped = rng.integers(0, 2, (len(row_of), width), dtype=np.uint8)
        null[start : start + width] = np.mean(
            [pair(swapped[mine]) for pair, mine in zip(pairs, rows, strict=True)], axis=0
        )
    return null


def _swappable(
    first: LabelTest, second: LabelTest, definition: AveragePrecision, rng: np.random.Generator
) -> Callable[[NDArray[np.uint8]], Float64]:
    """Merge both rankings of every class into one of 2 n entries; a permutation says which entry belongs to whom."""
    n, n_classes = first.truth.shape
    between = np.tile(rng.permutation(n), 2)  # of equal ranks a random image comes first, always the same one
    truths = np.concatenate([first.truth, first.truth])
    orders = []
    for k in range(n_classes):
        ranks = np.concatenate([_ranks(test.scores[:, k]) for test in (first, second)])
        entries = np.lexsort((between, ranks))
        orders.append(entries[truths[entries, k] != 0].astype(np.int64))

    def difference(swapped: NDArray[np.uint8]) -> Float64:
        ours = np.concatenate([1 - swapped, swapped])
        found = [
            weighted_average_precisions(order, truths[:, k], ours, definition)
            - weighted_average_precisions(order, truths[:, k], 1 - ours, definition)
            for k, order in enumerate(orders)
        ]
        return np.asarray(np.mean(found, axis=0))

    return difference


def _ranks(scores: Float64) -> Int64:
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return ranks
