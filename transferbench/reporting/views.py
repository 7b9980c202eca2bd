"""What the page shows of a result beyond the result itself: curves, and the test images it did best and worst on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transferbench.reporting.overview import Reported
from transferbench.reporting.test_scores import SplitScores
from transferbench.types.arrays import Float64, Int64

N_EXAMPLES = 6


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision over recall of one class.

    Parameters
    ----------
    name : str
        Of the class.
    value : float
        Its average precision, in [0, 1].
    points : tuple of tuple of float
        Recall and precision, by ascending recall.
    """

    name: str
    value: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A test image, and what was said about it.

    Parameters
    ----------
    image_id : str
        Of the test image.
    told : str
        What it is and what it was taken for.
    picture : str
        A data URI, or empty where the image is not at hand.
    """

    image_id: str
    told: str
    picture: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A result with what the page draws of it.

    Parameters
    ----------
    entry : Reported
        The result and its comparison.
    curves : tuple of Curve
        A class each, where images have several.
    best, worst : tuple of Example
        Empty where the result keeps no scores of single images.
    """

    entry: Reported
    curves: tuple[Curve, ...] = ()
    best: tuple[Example, ...] = ()
    worst: tuple[Example, ...] = ()


def examples(
    scores: SplitScores, classes: Sequence[str], n: int = N_EXAMPLES
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Choose the test images that a result did best and worst on.

    Parameters
    ----------
    scores : SplitScores
        Of one variant and split, with its truth.
    classes : sequence of str
        Names.
    n : int
        How many of each, at most; each image once, and with several classes per image each class once.

    Returns
    -------
    best, worst : tuple of Example
        Most certain and right first; most certain and wrong first. With one class per image by the distance between
        the true class's score and the best other one's; otherwise by the score of a class.
    """
    return _of_single(scores, classes, n) if scores.best is not None else _of_several(scores, classes, n)


def _of_single(scores: SplitScores, classes: Sequence[str], n: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    truth, best, true_values = scores.truth, scores.best, scores.true_values
    if truth is None or best is None or true_values is None:
        return (), ()
    right = best[:, 0] == truth
    other = np.where(right, scores.values[:, 1], scores.values[:, 0])
    margin = true_values - other
    order = np.argsort(-margin, kind="stable")

    def told(row: int) -> str:
        name = classes[int(truth[row])]
        return name if right[row] else f"{name}, taken for {classes[int(best[row, 0])]}"

    good = [Example(scores.ids[row], told(row)) for row in order[:n] if right[row]]
    bad = [Example(scores.ids[row], told(row)) for row in order[::-1][:n] if not right[row]]
    return tuple(good), tuple(bad)


def _of_several(scores: SplitScores, classes: Sequence[str], n: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    if scores.truth is None:
        return (), ()
    signed = scores.values * scores.truth
    where = np.argwhere(scores.truth != 0)
    margins = signed[where[:, 0], where[:, 1]]
    order = where[np.argsort(-margins, kind="stable")]
    positive = scores.truth[order[:, 0], order[:, 1]] > 0
    wrong = signed[order[:, 0], order[:, 1]] < 0
    good = _each_once(order[positive & ~wrong], n)
    bad = _each_once(order[wrong][::-1], n)

    def told(row: int, column: int) -> str:
        present = scores.truth is not None and scores.truth[row, column] > 0
        score = f"score {scores.values[row, column]:+.2f}"
        return f"{classes[column]}, {score}" if present else f"no {classes[column]}, but {score}"

    def missed(row: int, column: int) -> str:
        present = scores.truth is not None and scores.truth[row, column] > 0
        return f"{classes[column]} missed, score {scores.values[row, column]:+.2f}" if present else told(row, column)

    return (
        tuple(Example(scores.ids[row], told(row, column)) for row, column in good),
        tuple(Example(scores.ids[row], missed(row, column)) for row, column in bad),
    )


def _each_once(pairs: Int64, n: int) -> list[tuple[int, int]]:
    chosen: list[tuple[int, int]] = []
    rows: set[int] = set()
    columns: set[int] = set()
    for row, column in pairs.tolist():
        if row not in rows and column not in columns:
            chosen.append((row, column))
            rows.add(row)
            columns.add(column)
            if len(chosen) == n:
                break
    return chosen


def thinned(recall: Float64, precision: Float64, most: int = 60) -> tuple[tuple[float, float], ...]:
    """Keep the corners of a curve of steps, and of many only some.

    Parameters
    ----------
    recall, precision : ndarray of shape (p,)
        Ascending and descending.
    most : int
        How many points to keep.

    Returns
    -------
    tuple of tuple of float
        The last one among them, rounded to four digits.
    """
    corners = np.flatnonzero(np.r_[np.diff(precision) != 0, True])
    if len(corners) > most:
        corners = corners[np.unique(np.linspace(0, len(corners) - 1, most).round().astype(int))]
    return tuple((round(float(recall[i]), 4), round(float(precision[i]), 4)) for i in corners)
