"""The paper's protocol over splits: choose C on the validation part, train on all training images, test once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from transferbench.evaluation.metrics import MEAN_CLASS_RECALL, class_recalls, confusion_matrix, mean_and_std
from transferbench.evaluation.svm import Solver, Targets
from transferbench.types import ClassLabels, Features, Float64, Int64, Score, Split


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplitResult:
    """What one split gave.

    Parameters
    ----------
    split : Split
        Which images.
    C : float
        Chosen.
    validation : dict of float to float
        Metric on the validation part, for every C.
    score : Score
        On the test part, after training on fit + validation.
    confusion : ndarray of shape (K, K), int64
        On the test part; rows are true classes.
    """

    split: Split
    C: float
    validation: dict[float, float]
    score: Score
    confusion: Int64

    @property
    def C_at_edge(self) -> bool:
        """Whether the best C is the smallest or largest tried, so that a wider grid might do better."""
        return len(self.validation) > 1 and self.C in {min(self.validation), max(self.validation)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """All splits together.

    Parameters
    ----------
    splits : tuple of SplitResult
        In order.
    mean : float
        Of the splits' values.
    std : float or None
        n - 1 in the denominator; None for a single split.
    """

    splits: tuple[SplitResult, ...]
    mean: float
    std: float | None


def evaluate(
    features: Features,
    labels: ClassLabels,
    splits: Sequence[Split],
    solver: Solver,
    Cs: Sequence[float],
    done: Callable[[], None],
) -> Evaluation:
    """Evaluate features on a single-label dataset.

    Parameters
    ----------
    features : Features
        Of all images.
    labels : ClassLabels
        Of all images.
    splits : sequence of Split
        Each is evaluated on its own, its C included.
    solver : Solver
        Fits the SVMs.
    Cs : sequence of float
        Ascending.
    done : callable
        Told after every split.

    Returns
    -------
    Evaluation
        Mean class recall of every split, and their mean and spread.

    References
    ----------
    Simonyan & Zisserman (2015), Appendix B.
    """
    results = []
    for split in splits:
        results.append(_evaluate_split(features, labels, split, solver, Cs))
        done()
    mean, std = mean_and_std([result.score.value for result in results])
    return Evaluation(splits=tuple(results), mean=mean, std=std)


def choose_C(validation: dict[float, float]) -> float:
    """Choose the C with the best validation score.

    Parameters
    ----------
    validation : dict of float to float
        Score for every C.

    Returns
    -------
    float
        Of several equally good ones the middle one (the lower of two): on a small validation part a wide range of C
        gives the same score, and its ends are the least safe choice.
    """
    best = max(validation.values())
    equally_good = sorted(C for C, value in validation.items() if value == best)
    return equally_good[(len(equally_good) - 1) // 2]


def one_vs_rest(numbers: Int64, n_classes: int) -> Targets:
    """Turn class numbers into targets.

    Parameters
    ----------
    numbers : ndarray of shape (n,), int64
        Below `n_classes`.
    n_classes : int
        K.

    Returns
    -------
    ndarray of shape (n, K), int8
        +1 for the class, -1 for the others.
    """
    return np.where(numbers[:, None] == np.arange(n_classes), 1, -1).astype(np.int8)


def _evaluate_split(
    features: Features, labels: ClassLabels, split: Split, solver: Solver, Cs: Sequence[float]
) -> SplitResult:
    n_classes = len(labels.classes)

    def scores(train: tuple[str, ...], other: tuple[str, ...], values: Sequence[float]) -> Float64:
        return solver.scores(
            features.rows(train), one_vs_rest(labels.of(train), n_classes), features.rows(other), values
        )

    def confusion(ids: tuple[str, ...], decision: Float64) -> Int64:
        return confusion_matrix(labels.of(ids), decision.argmax(axis=1), n_classes)

    by_C = scores(split.fit, split.validation, Cs)
    validation = {C: float(class_recalls(confusion(split.validation, by_C[k])).mean()) for k, C in enumerate(Cs)}
    C = choose_C(validation)
    table = confusion(split.test, scores(split.train, split.test, [C])[0])
    recalls = class_recalls(table)
    score = Score(
        metric=MEAN_CLASS_RECALL,
        value=float(recalls.mean()),
        per_class=tuple(map(float, recalls)),
        n_test=len(split.test),
    )
    return SplitResult(split=split, C=C, validation=validation, score=score, confusion=table)
