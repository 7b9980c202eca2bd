"""Labels → what SVMs are fitted to: +1, -1, or 0 where an image is left out of a class."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from transferbench.errors import EvaluationError
from transferbench.evaluation.svm.objective import Targets
from transferbench.types.arrays import Int64
from transferbench.types.labels import ClassLabels, Labels
from transferbench.types.split import Split


def targets_of(labels: Labels, split: Split, ids: tuple[str, ...], use: str) -> Targets:
    """Arrange the targets of some images of a split, in which no class may lack a side.

    Parameters
    ----------
    labels : ClassLabels or MultiLabels
        Of these images at least.
    split : Split
        For the message.
    ids : tuple of str
        n images.
    use : str
        What they are there for, for the message: ``fit on``.

    Returns
    -------
    ndarray of shape (n, K), int8
        +1, -1, or 0: difficult, left out of that class.

    Raises
    ------
    EvaluationError
        If a class has no positive or no negative image among them.
    """
    return _with_signs(labels, split, ids, use, (1, -1))


def require_classes(labels: Labels, split: Split) -> None:
    """See that every class can be fitted, has an image to choose C on, where C is chosen, and one to test on.

    Parameters
    ----------
    labels : ClassLabels or MultiLabels
        Of all images of the split.
    split : Split
        Without validation images it has only a single C.

    Raises
    ------
    EvaluationError
        If a class has none: its recall or average precision is undefined.
    """
    targets_of(labels, split, split.fit, "fit on")
    for ids, use in ((split.validation, "choose C on"), (split.test, "test on")):
        if ids:
            _with_signs(labels, split, ids, use, (1,))


def _with_signs(labels: Labels, split: Split, ids: tuple[str, ...], use: str, signs: tuple[int, ...]) -> Targets:
    targets = one_vs_rest(labels.of(ids), len(labels.classes)) if isinstance(labels, ClassLabels) else labels.of(ids)
    for sign in signs:
        word = "positive" if sign > 0 else "negative"
        missing = np.flatnonzero(~(targets == sign).any(axis=0))
        if len(missing):
            msg = (
                f"class {labels.classes[missing[0]]!r} has no {word} image to {use} in split {split.name}"
                f"{f' (and {len(missing) - 1} more classes)' if len(missing) > 1 else ''}.\n"
                "  Give every split images of every class, or leave the class out of the dataset."
            )
            raise EvaluationError(msg)
    return targets


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
