"""Random splits that anyone can recompute: images are ranked by a hash of seed, split and id.

A generator's stream may change with its library, and depends on the order of its input. The rank of an image depends on
nothing but the seed, the split's number and the image's own id.
"""

import hashlib
from collections.abc import Iterable

from transferbench.errors import DatasetError
from transferbench.types import ClassLabels, Split


def ranked(ids: Iterable[str], seed: int, split: int) -> list[str]:
    """Order ids at random, reproducibly.

    Parameters
    ----------
    ids : iterable of str
        In any order.
    seed : int
        Of the protocol.
    split : int
        Number of the split, from 1.

    Returns
    -------
    list of str
        Ascending by SHA-256 of ``"<seed>/<split>/<id>"``.
    """
    return sorted(ids, key=lambda i: hashlib.sha256(f"{seed}/{split}/{i}".encode()).digest())


def random_splits(
    labels: ClassLabels,
    *,
    n_splits: int,
    seed: int,
    train_per_class: int,
    test_per_class: int | None,
    validation_fraction: float,
) -> tuple[Split, ...]:
    """Divide a single-label dataset several times.

    Parameters
    ----------
    labels : ClassLabels
        Class of every id.
    n_splits : int
        How many divisions.
    seed : int
        See `ranked`.
    train_per_class : int
        Training images of every class, validation included.
    test_per_class : int or None
        At most so many test images of every class; all the rest when None.
    validation_fraction : float
        Part of each class's training images on which C is chosen, rounded, at least one image.

    Returns
    -------
    tuple of Split
        Ids sorted within each list.

    Raises
    ------
    DatasetError
        If a class is too small to give training and test images.

    References
    ----------
    Simonyan & Zisserman (2015), Appendix B.
    """
    by_class: list[list[str]] = [[] for _ in labels.classes]
    for image_id, number in labels.by_id.items():
        by_class[number].append(image_id)
    for name, members in zip(labels.classes, by_class, strict=True):
        if len(members) <= train_per_class:
            msg = (
                f"class {name!r} has {len(members)} images; {train_per_class} for training and at least "
                "one for testing are needed"
            )
            raise DatasetError(msg)
    n_validation = max(1, round(validation_fraction * train_per_class))
    if n_validation >= train_per_class:
        msg = (
            f"{train_per_class} training image(s) per class leave none to fit on besides {n_validation} for validation"
        )
        raise DatasetError(msg)
    splits = []
    for number in range(1, n_splits + 1):
        fit: list[str] = []
        validation: list[str] = []
        test: list[str] = []
        for members in by_class:
            order = ranked(members, seed, number)
            validation += order[:n_validation]
            fit += order[n_validation:train_per_class]
            test += order[train_per_class:][:test_per_class]
        name = f"{number} of {n_splits}"
        splits.append(
            Split(name=name, fit=tuple(sorted(fit)), validation=tuple(sorted(validation)), test=tuple(sorted(test)))
        )
    return tuple(splits)
