"""What scores are worth: labels with the metrics that suit them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from transferbench.errors import EvaluationError
from transferbench.evaluation.metrics import (
    AVERAGE_PRECISIONS,
    MEAN_CLASS_RECALL,
    AveragePrecision,
    class_recalls,
    confusion_matrix,
    mean_average_precision,
)
from transferbench.types.arrays import Float64, Int64
from transferbench.types.labels import ClassLabels, Labels, MultiLabels
from transferbench.types.scores import Score


@dataclass(frozen=True, slots=True)
class Judge:
    """Labels and their metrics.

    Parameters
    ----------
    labels : ClassLabels or MultiLabels
        Of all images to be judged.
    measures : dict of str to callable
        By name; each maps ids and (m, K) scores to (K,) values per class. The first is the one that counts.
    """

    labels: Labels
    measures: dict[str, Callable[[tuple[str, ...], Float64], Float64]]

    @classmethod
    def of(cls, labels: Labels, first: AveragePrecision) -> "Judge":
        """Choose the metrics by the kind of labels.

        Parameters
        ----------
        labels : ClassLabels or MultiLabels
            Mean class recall, or mean average precision.
        first : {"eleven_point", "area", "non_interpolated"}
            The definition of average precision that counts; the others follow.

        Returns
        -------
        Judge
            Of these labels.
        """
        if isinstance(labels, ClassLabels):
            return cls(labels, {MEAN_CLASS_RECALL: lambda ids, scores: class_recalls(_confusion(labels, ids, scores))})
        order = (first, *(other for other in AVERAGE_PRECISIONS if other != first))
        return cls(labels, {mean_average_precision(name): partial(_precisions, labels, name) for name in order})

    def value(self, ids: tuple[str, ...], scores: Float64) -> float:
        """Average the metric that counts over the classes.

        Parameters
        ----------
        ids : tuple of str
            m images.
        scores : ndarray of shape (m, K), float64
            Of theirs.

        Returns
        -------
        float
            In [0, 1].

        Raises
        ------
        EvaluationError
            If a class has no positive image among them.
        """
        return float(next(iter(self.measures.values()))(ids, scores).mean())

    def all_scores(self, ids: tuple[str, ...], scores: Float64) -> list[Score]:
        """Compute every metric.

        Parameters
        ----------
        ids : tuple of str
            m images.
        scores : ndarray of shape (m, K), float64
            Of theirs.

        Returns
        -------
        list of Score
            The one that counts first.

        Raises
        ------
        EvaluationError
            If a class has no positive image among them.
        """
        return [_score(name, measure(ids, scores), len(ids)) for name, measure in self.measures.items()]

    def confusion(self, ids: tuple[str, ...], scores: Float64) -> Int64 | None:
        """Count which class was taken for which.

        Parameters
        ----------
        ids : tuple of str
            m images.
        scores : ndarray of shape (m, K), float64
            Of theirs; the highest is the class taken.

        Returns
        -------
        ndarray of shape (K, K), int64, or None
            Rows are true classes. None for images with several classes.
        """
        return _confusion(self.labels, ids, scores) if isinstance(self.labels, ClassLabels) else None


def _score(metric: str, per_class: Float64, n_test: int) -> Score:
    return Score(metric=metric, value=float(per_class.mean()), per_class=tuple(map(float, per_class)), n_test=n_test)


def _confusion(labels: ClassLabels, ids: tuple[str, ...], scores: Float64) -> Int64:
    return confusion_matrix(labels.of(ids), scores.argmax(axis=1), len(labels.classes))


def _precisions(labels: MultiLabels, definition: AveragePrecision, ids: tuple[str, ...], scores: Float64) -> Float64:
    truth = labels.of(ids)
    missing = np.flatnonzero(~(truth > 0).any(axis=0))
    if len(missing):
        name = labels.classes[missing[0]]
        msg = f"class {name!r} has no positive among {len(ids)} images to score, so its average precision is undefined"
        raise EvaluationError(msg)
    measure = AVERAGE_PRECISIONS[definition]
    return np.array([measure(truth[:, k], scores[:, k]) for k in range(truth.shape[1])])
