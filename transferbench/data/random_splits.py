"""Random divisions that anyone can recompute: images are ranked by a hash of seed, split and id.

A generator's stream may change with its library, and depends on the order of its input. The rank of an image depends on
nothing but the seed, the split's number and the image's own id.
"""

import hashlib
from collections.abc import Iterable, Sequence

from transferbench.data.record import DatasetRecord
from transferbench.errors import DatasetError
from transferbench.types.labels import ClassLabels, Labels
from transferbench.types.split import Split


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
            f"{train_per_class} training image(s) per class leave none to fit on besides {n_validation} for "
            "validation; use more"
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
        splits.append(sorted_split(f"{number} of {n_splits}", fit, validation, test))
    return tuple(splits)


def held_out_of_every_class(
    ids: Iterable[str], labels: ClassLabels, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide images for pretraining where nobody has divided them.

    Parameters
    ----------
    ids : iterable of str
        All images.
    labels : ClassLabels
        Their classes.
    seed : int
        Of the protocol.

    Returns
    -------
    tuple of two tuples of str
        Sorted ids to train on, and to watch: of every class one in ten, at least one.
    """
    classes: dict[int, list[str]] = {}
    for image_id in ids:
        classes.setdefault(int(labels.by_id[image_id]), []).append(image_id)
    watched = {i for members in classes.values() for i in ranked(members, seed, 0)[: max(1, len(members) // 10)]}
    return tuple(sorted(i for members in classes.values() for i in members if i not in watched)), tuple(sorted(watched))


def low_shot_splits(
    record: DatasetRecord, labels: Labels, splits: Sequence[Split], train_per_class: int
) -> tuple[Split, ...]:
    """Leave few training images of every class in splits; the test images stay.

    Parameters
    ----------
    record : DatasetRecord
        Its seed ranks the images.
    labels : ClassLabels
        Of all images.
    splits : sequence of Split
        Of the whole protocol.
    train_per_class : int
        n: the first n training images of every class by rank, so smaller counts lie inside larger ones. The first
        fifth of them, rounded, chooses C; at least one, and none where n is 1.

    Returns
    -------
    tuple of Split
        With all the training images of random splits they are the splits themselves.

    Raises
    ------
    DatasetError
        If images have several classes, or a class has fewer training images.
    """
    if not isinstance(labels, ClassLabels):
        msg = f"{record.name}: low_shot counts images of every class, so it needs one label per image"
        raise DatasetError(msg)
    seed = getattr(record.protocol, "seed", 0)
    fraction = getattr(record.protocol, "validation_fraction", 0.2)
    n_validation = 0 if train_per_class == 1 else max(1, round(fraction * train_per_class))
    found = []
    for number, split in enumerate(splits, 1):
        by_class: dict[int, list[str]] = {}
        for image_id in ranked(split.train, seed, number):
            by_class.setdefault(labels.by_id[image_id], []).append(image_id)
        fewest = min(by_class, key=lambda k: len(by_class[k]))
        if len(by_class[fewest]) < train_per_class:
            msg = (
                f"{record.name}: class {labels.classes[fewest]!r} has {len(by_class[fewest])} training images in split "
                f"{split.name}, and low_shot asks for {train_per_class}; leave out counts beyond the smallest class"
            )
            raise DatasetError(msg)
        chosen = [order[:train_per_class] for order in by_class.values()]
        validation = [i for order in chosen for i in order[:n_validation]]
        fit = [i for order in chosen for i in order[n_validation:]]
        found.append(sorted_split(split.name, fit, validation, split.test))
    return tuple(found)


def sorted_split(name: str, fit: Iterable[str], validation: Iterable[str], test: Iterable[str]) -> Split:
    """Make a split whose lists are in the order in which they are hashed.

    Parameters
    ----------
    name : str
        As printed.
    fit, validation, test : iterable of str
        Disjoint ids, in any order.

    Returns
    -------
    Split
        Ids sorted within each list.
    """
    return Split(name=name, fit=tuple(sorted(fit)), validation=tuple(sorted(validation)), test=tuple(sorted(test)))
