"""The paper's protocol over splits: choose C on the validation part, train on all training images, test once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transferbench.evaluation.aggregate import FeatureParts
from transferbench.evaluation.judge import Judge
from transferbench.evaluation.metrics import AveragePrecision, mean_and_std
from transferbench.evaluation.pieces import Begun, Piece, Pieces
from transferbench.evaluation.svm.solvers import Prepared, Solver
from transferbench.evaluation.targets import require_classes, shuffled, targets_of
from transferbench.types.arrays import Float64, Int64
from transferbench.types.labels import Labels
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
        require_classes(labels, split)
    prepared = solver.prepare(features, splits)
    chosen: list[tuple[float, dict[float, float]]] = []
    for number, split in enumerate(splits):
        chosen.append(fit_split(prepared, number, split, labels, Cs, average_precision, pieces, shuffle_seed))
        done()
    judge = Judge.of(labels, average_precision)
    results = [
        _result(judge, split, C, validation, scores)
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
    judge = Judge.of(shown, average_precision)
    validation = _validate(prepared, number, split, shown, Cs, judge, pieces) if split.validation else {}
    if validation:
        C = choose_C(validation)
    else:
        (C,) = Cs
    prepared.train(number, targets_of(shown, split, split.train, "train on"), C)
    if pieces is not None:
        pieces.put(number, Piece(C=C, validation=validation, machine=prepared.machine(number)))
    return C, validation


def _validate(
    prepared: Prepared,
    number: int,
    split: Split,
    labels: Labels,
    Cs: Sequence[float],
    judge: Judge,
    pieces: Pieces | None,
) -> dict[float, float]:
    """Find the validation value of every C, those that an interrupted evaluation kept included."""
    begun = None if pieces is None else pieces.get_begun(number)
    validation = {} if begun is None else dict(begun.validation)
    if begun is not None:
        prepared.restore_path(number, begun.path)
    rest = Cs[len(validation) :]
    targets = targets_of(labels, split, split.fit, "fit on")
    for C, scores in zip(rest, prepared.path(number, targets, rest), strict=True):
        validation[C] = judge.value(split.validation, scores)
        if pieces is not None:
            pieces.put_begun(number, Begun(validation=dict(validation), path=prepared.path_state(number)))
    return validation


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


def _at_edge(C: float, validation: dict[float, float]) -> bool:
    return len(validation) > 1 and C in {min(validation), max(validation)}


def _result(judge: Judge, split: Split, C: float, validation: dict[float, float], scores: Float64) -> SplitResult:
    first, *others = judge.all_scores(split.test, scores)
    return SplitResult(
        split=split,
        C=C,
        validation=validation,
        score=first,
        others=tuple(others),
        confusion=judge.confusion(split.test, scores),
        scores=scores,
    )
