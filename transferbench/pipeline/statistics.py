"""Kept test scores → what the statistics are made of."""

from collections.abc import Sequence

import numpy as np

from transferbench.evaluation.metrics import AVERAGE_PRECISIONS, MEAN_CLASS_RECALL, mean_average_precision
from transferbench.evaluation.statistics import LEVEL, METHOD, RESAMPLES, SEED, interval_of
from transferbench.evaluation.tested import ClassTest, LabelTest, Measure, Tests
from transferbench.reporting.result import StatisticsRecord, VariantScore
from transferbench.reporting.test_scores import SplitScores


def tests_of(scores: Sequence[SplitScores], variant: int) -> Tests:
    """Take one variant out of the kept test scores.

    Parameters
    ----------
    scores : sequence of SplitScores
        Of a result.
    variant : int
        Position in `Result.scores`.

    Returns
    -------
    sequence of ClassTest or LabelTest
        One per split whose labels are known.
    """
    mine = [one for one in scores if one.variant == variant and one.truth is not None]
    if mine and mine[0].best is not None:
        return [
            ClassTest(ids=one.ids, truth=np.asarray(one.truth, dtype=np.int64), right=one.predicted == one.truth)
            for one in mine
        ]
    return [LabelTest(ids=one.ids, truth=np.asarray(one.truth, dtype=np.int8), scores=one.values) for one in mine]


def measure_of(metric: str) -> Measure:
    """Find the measure behind a metric's name.

    Parameters
    ----------
    metric : str
        As results show it.

    Returns
    -------
    str
        ``mean class recall``, or a definition of average precision.
    """
    if metric == MEAN_CLASS_RECALL:
        return "mean class recall"
    return next(definition for definition in AVERAGE_PRECISIONS if mean_average_precision(definition) == metric)


def with_intervals(
    variants: Sequence[VariantScore], scores: Sequence[SplitScores], metric: str
) -> tuple[tuple[VariantScore, ...], StatisticsRecord]:
    """Give every variant its interval.

    Parameters
    ----------
    variants : sequence of VariantScore
        Of a result.
    scores : sequence of SplitScores
        Of the same result.
    metric : str
        As results show it.

    Returns
    -------
    tuple of tuple of VariantScore and StatisticsRecord
        With their intervals, and how these were made.
    """
    measure = measure_of(metric)
    done = [
        variant.model_copy(update={"interval": interval_of(tests_of(scores, number), measure)})
        for number, variant in enumerate(variants)
    ]
    return tuple(done), StatisticsRecord(level=LEVEL, resamples=RESAMPLES, seed=SEED, method=METHOD)
