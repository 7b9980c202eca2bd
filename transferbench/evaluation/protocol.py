"""The paper's protocol over splits: choose C on the validation part, train on all training images, test once."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transferbench.errors import EvaluationError
from transferbench.evaluation.aggregate import FeatureParts
from transferbench.evaluation.metrics import (
    AVERAGE_PRECISIONS,
    MEAN_CLASS_RECALL,
    AveragePrecision,
    class_recalls,
    confusion_matrix,
    mean_and_std,
    mean_average_precision,
)
from transferbench.evaluation.svm.objective import Targets
from transferbench.evaluation.svm.solvers import Prepared, Solver
from transferbench.types.arrays import Float64, Int64
from transferbench.types.labels import ClassLabels, Labels, MultiLabels
from transferbench.types.scores import Score
from transferbench.types.split import Split


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
    others : tuple of Score
        Further metrics of the same test scores: the other definitions of average precision.
    confusion : ndarray of shape (K, K), int64, or None
        On the test part; rows are true classes. None for images with several classes.
    scores : ndarray of shape (m, K), float64
        Of the test images, in the order of `Split.test`.
    """

    split: Split
    C: float
    validation: dict[float, float]
    score: Score
    others: tuple[Score, ...]
    confusion: Int64 | None
    scores: Float64

    @property
    def C_at_edge(self) -> bool:
        """Whether the best C is the smallest or largest tried, so that a wider grid might do better."""
        return _at_edge(self.C, self.validation)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """A finished split: all that need not be done again.

    Parameters
    ----------
    C : float
        Chosen.
    validation : dict of float to float
        Metric on the validation part, for every C.
    machine : mapping of str to ndarray
        As `Prepared.machine` gave it.
    """

    C: float
    validation: dict[float, float]
    machine: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Begun:
    """A split whose C is being chosen.

    Parameters
    ----------
    validation : dict of float to float
        Metric on the validation part, for every C so far.
    path : mapping of str to ndarray
        As `Prepared.path_state` gave it after the last of them.
    """

    validation: dict[float, float]
    path: Mapping[str, NDArray[Any]]


class Pieces(Protocol):
    """Where finished splits, and values of C of the split that is being done, are kept while an evaluation goes on."""

    def get(self, split: int) -> Piece | None:
        """Return a split that was finished before, by its position; None if it was not."""

    def put(self, split: int, piece: Piece) -> None:
        """Keep a split that is finished; what was begun of it is of no use any more."""

    def get_begun(self, split: int) -> Begun | None:
        """Return how far a split has come; None if nothing of it was kept."""

    def put_begun(self, split: int, begun: Begun) -> None:
        """Keep how far a split has come, if that is worth its time. The arrays change when the split goes on."""


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
    features: FeatureParts,
    labels: Labels,
    splits: Sequence[Split],
    solver: Solver,
    Cs: Sequence[float],
    done: Callable[[], None],
    average_precision: AveragePrecision = "area",
    pieces: Pieces | None = None,
    shuffle_seed: int | None = None,
) -> Evaluation:
    """Evaluate features on a dataset.

    Parameters
    ----------
    features : FeatureParts
        Of all images.
    labels : ClassLabels or MultiLabels
        Of all images; the kind selects the metric.
    splits : sequence of Split
        Each is evaluated on its own, its C included: one C for all classes.
    solver : Solver
        Fits the SVMs.
    Cs : sequence of float
        Ascending. A single one where splits have no validation images.
    done : callable
        Told after every split.
    average_precision : {"eleven_point", "area", "non_interpolated"}
        With several classes per image, the definition that comes first and chooses C.
    pieces : Pieces, optional
        Finished splits of an interrupted evaluation, and where to keep those of this one.
    shuffle_seed : int, optional
        Train, and choose C, on labels that belong to other images of the same part: a floor. The test is unchanged.

    Returns
    -------
    Evaluation
        Value of every split, and their mean and spread.

    Raises
    ------
    EvaluationError
        If a class lacks positive or negative images in a split, or images to be judged on.

    References
    ----------
    Simonyan & Zisserman (2015), Appendix B.
    """
    for split in splits:  # before hours of fitting; shuffled labels are those of the same images
        _targets(labels, split, split.fit, "fit on")
    prepared = solver.prepare(features, splits)
    chosen: list[tuple[float, dict[float, float]]] = []
    for number, split in enumerate(splits):
        chosen.append(fit_split(prepared, number, split, labels, Cs, average_precision, pieces, shuffle_seed))
        done()
    judge = _Judge.of(labels, average_precision)
    results = [
        judge.result(split, C, validation, scores)
        for split, (C, validation), scores in zip(splits, chosen, prepared.test_scores(), strict=True)
    ]
    mean, std = mean_and_std([result.score.value for result in results])
    return Evaluation(splits=tuple(results), mean=mean, std=std)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What a split gave whose test labels somebody else has: scores, and no metric of them.

    Parameters
    ----------
    split : Split
        Which images.
    C : float
        Chosen.
    validation : dict of float to float
        Metric on the validation part, for every C.
    scores : ndarray of shape (m, K), float64
        Of the test images, in the order of `Split.test`.
    """

    split: Split
    C: float
    validation: dict[float, float]
    scores: Float64

    @property
    def C_at_edge(self) -> bool:
        """As `SplitResult.C_at_edge`."""
        return _at_edge(self.C, self.validation)


def predict(
    features: FeatureParts,
    labels: Labels,
    split: Split,
    solver: Solver,
    Cs: Sequence[float],
    average_precision: AveragePrecision = "area",
    pieces: Pieces | None = None,
) -> Prediction:
    """Do for test images without labels what `evaluate` does for those with labels, up to their scores.

    Parameters
    ----------
    features : FeatureParts
        Of all images.
    labels : ClassLabels or MultiLabels
        Of the training images.
    split : Split
        Its test images need no labels.
    solver : Solver
        Fits the SVMs.
    Cs : sequence of float
        Ascending.
    average_precision : {"eleven_point", "area", "non_interpolated"}
        With several classes per image, the definition that chooses C.
    pieces : Pieces, optional
        As for `evaluate`; the split is number 0.

    Returns
    -------
    Prediction
        To be submitted to whoever has the labels.

    Raises
    ------
    EvaluationError
        If a class lacks positive or negative training images, or images to choose C on.
    """
    prepared = solver.prepare(features, [split])
    C, validation = fit_split(prepared, 0, split, labels, Cs, average_precision, pieces)
    (scores,) = prepared.test_scores()
    return Prediction(split=split, C=C, validation=validation, scores=scores)


def fit_split(
    prepared: Prepared,
    number: int,
    split: Split,
    labels: Labels,
    Cs: Sequence[float],
    average_precision: AveragePrecision = "area",
    pieces: Pieces | None = None,
    shuffle_seed: int | None = None,
) -> tuple[float, dict[float, float]]:
    """Choose C on the validation images, if there are any, and train on all; whatever was done before is taken.

    Parameters
    ----------
    prepared : Prepared
        The solver with its features; it has what was trained afterwards.
    number : int
        Position of the split among those it was prepared for, and in `pieces`.
    split : Split
        Which images.
    labels : ClassLabels or MultiLabels
        Of its training images at least.
    Cs : sequence of float
        Ascending. A single one where there are no validation images.
    average_precision : {"eleven_point", "area", "non_interpolated"}
        With several classes per image, the definition that chooses C.
    pieces : Pieces, optional
        As for `evaluate`.
    shuffle_seed : int, optional
        As for `evaluate`.

    Returns
    -------
    tuple of float and dict of float to float
        The C chosen, and the metric on the validation part for every C.

    Raises
    ------
    EvaluationError
        If a class lacks positive or negative training images, or images to choose C on.
    """
    finished = None if pieces is None else pieces.get(number)
    if finished is not None:
        prepared.restore(number, finished.machine)
        return finished.C, finished.validation
    shown = labels if shuffle_seed is None else shuffled(labels, split, shuffle_seed)
    judge = _Judge.of(shown, average_precision)
    validation = _validate(prepared, number, split, shown, Cs, judge, pieces) if split.validation else {}
    if validation:
        C = choose_C(validation)
    else:
        (C,) = Cs
    prepared.train(number, _targets(shown, split, split.train, "train on"), C)
    if pieces is not None:
        pieces.put(number, Piece(C=C, validation=validation, machine=prepared.machine(number)))
    return C, validation


def _validate(
    prepared: Prepared,
    number: int,
    split: Split,
    labels: Labels,
    Cs: Sequence[float],
    judge: "_Judge",
    pieces: Pieces | None,
) -> dict[float, float]:
    """Find the validation value of every C, those that an interrupted evaluation kept included."""
    begun = None if pieces is None else pieces.get_begun(number)
    validation = {} if begun is None else dict(begun.validation)
    if begun is not None:
        prepared.restore_path(number, begun.path)
    rest = Cs[len(validation) :]
    targets = _targets(labels, split, split.fit, "fit on")
    for C, scores in zip(rest, prepared.path(number, targets, rest), strict=True):
        validation[C] = judge.value(split.validation, scores)
        if pieces is not None:
            pieces.put_begun(number, Begun(validation=dict(validation), path=prepared.path_state(number)))
    return validation


def shuffled(labels: Labels, split: Split, seed: int) -> Labels:
    """Give training images each other's labels, within the images to fit on and within those to choose C on.

    Parameters
    ----------
    labels : ClassLabels or MultiLabels
        Of all images.
    split : Split
        Its test images keep theirs.
    seed : int
        Images are ranked by a hash of it and their id, as splits are: the same on every machine.

    Returns
    -------
    ClassLabels or MultiLabels
        Every part has as many images of every class as before.
    """
    changed: dict[str, Any] = {}
    for ids in (split.fit, split.validation):
        order = sorted(ids, key=lambda i: hashlib.sha256(f"{seed}/{split.name}/{i}".encode()).digest())
        changed |= {mine: labels.by_id[other] for mine, other in zip(ids, order, strict=True)}
    if isinstance(labels, ClassLabels):
        return replace(labels, by_id=labels.by_id | changed)
    return replace(labels, by_id=labels.by_id | changed)


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
    # Means of the same recalls in another order differ in their last digits.
    rounded = {C: round(value, 12) for C, value in validation.items()}
    best = max(rounded.values())
    equally_good = sorted(C for C, value in rounded.items() if value == best)
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


@dataclass(frozen=True, slots=True)
class _Judge:
    """Labels and the metrics that suit them, by name; the first metric is the one that counts."""

    labels: Labels
    measures: dict[str, Callable[[tuple[str, ...], Float64], Float64]]

    @classmethod
    def of(cls, labels: Labels, first: AveragePrecision) -> "_Judge":
        if isinstance(labels, ClassLabels):
            return cls(labels, {MEAN_CLASS_RECALL: lambda ids, scores: class_recalls(_confusion(labels, ids, scores))})
        order = (first, *(other for other in AVERAGE_PRECISIONS if other != first))
        return cls(labels, {mean_average_precision(name): partial(_precisions, labels, name) for name in order})

    def value(self, ids: tuple[str, ...], scores: Float64) -> float:
        return float(next(iter(self.measures.values()))(ids, scores).mean())

    def result(self, split: Split, C: float, validation: dict[float, float], scores: Float64) -> SplitResult:
        first, *others = (
            _score(name, measure(split.test, scores), len(split.test)) for name, measure in self.measures.items()
        )
        confusion = _confusion(self.labels, split.test, scores) if isinstance(self.labels, ClassLabels) else None
        return SplitResult(
            split=split,
            C=C,
            validation=validation,
            score=first,
            others=tuple(others),
            confusion=confusion,
            scores=scores,
        )


def _at_edge(C: float, validation: dict[float, float]) -> bool:
    return len(validation) > 1 and C in {min(validation), max(validation)}


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


def _targets(labels: Labels, split: Split, ids: tuple[str, ...], use: str) -> Targets:
    targets = one_vs_rest(labels.of(ids), len(labels.classes)) if isinstance(labels, ClassLabels) else labels.of(ids)
    for sign, word in ((1, "positive"), (-1, "negative")):
        missing = np.flatnonzero(~(targets == sign).any(axis=0))
        if len(missing):
            msg = (
                f"class {labels.classes[missing[0]]!r} has no {word} image to {use} in split {split.name}"
                f"{f' (and {len(missing) - 1} more classes)' if len(missing) > 1 else ''}.\n"
                "  Give every split images of every class, or leave the class out of the dataset."
            )
            raise EvaluationError(msg)
    return targets
