"""Random splits that anyone can recompute: images are ranked by a hash of seed, split and id.

A generator's stream may change with its library, and depends on the order of its input. The rank of an image depends on
nothing but the seed, the split's number and the image's own id.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from transferbench.data.people import image_of
from transferbench.data.record import (
    DatasetRecord,
    FixedSplit,
    Pretraining,
    RandomSplits,
    ServerTest,
    TrainTest,
)
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


def splits_of(record: DatasetRecord, labels: Labels, parts: Mapping[str, tuple[str, ...]]) -> tuple[Split, ...]:
    """Divide a dataset as its record says.

    Parameters
    ----------
    record : DatasetRecord
        States the protocol.
    labels : ClassLabels or MultiLabels
        Of all labelled images.
    parts : mapping of str to tuple of str
        Ids of the parts that protocols of given lists name.

    Returns
    -------
    tuple of Split
        Audited: see `audit`. Where the test labels are only on a server, the local division.

    Raises
    ------
    DatasetError
        If a class or a part is too small, the dataset is one to pretrain on, or the splits are not the recorded ones.
    """
    match record.protocol:
        case RandomSplits() as protocol:
            splits = _recorded_random_splits(record, protocol, labels)
        case FixedSplit() as protocol:
            names = (protocol.fit, protocol.validation, protocol.test)
            splits = (_split(_division(*names), *(_members(record, parts, name) for name in names)),)
        case TrainTest() as protocol:
            splits = (_train_test(record, protocol, labels, parts, ""),)
        case ServerTest() as protocol:
            splits = (_train_test(record, protocol.local, labels, parts, ", local"),)
        case Pretraining():
            msg = f"{record.name} is a dataset to pretrain on; it has no splits for a transfer experiment"
            raise DatasetError(msg)
    for split in splits:
        audit(record.name, split)
    return splits


def official_split(record: DatasetRecord, parts: Mapping[str, tuple[str, ...]]) -> Split | None:
    """Return the division whose test labels only the organisers have.

    Parameters
    ----------
    record : DatasetRecord
        States the protocol.
    parts : mapping of str to tuple of str
        Ids of the parts.

    Returns
    -------
    Split or None
        None if the dataset has no such test, or its test images are not there.
    """
    protocol = record.protocol
    if not isinstance(protocol, ServerTest) or not parts.get(protocol.test):
        return None
    names = (protocol.fit, protocol.validation, protocol.test)
    split = _split("official", *(_members(record, parts, name) for name in names))
    audit(record.name, split)
    return split


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
                f"{split.name}, and low_shot asks for {train_per_class}"
            )
            raise DatasetError(msg)
        chosen = [order[:train_per_class] for order in by_class.values()]
        validation = [i for order in chosen for i in order[:n_validation]]
        fit = [i for order in chosen for i in order[n_validation:]]
        found.append(_split(split.name, fit, validation, split.test))
    return tuple(found)


def audit(dataset: str, split: Split) -> None:
    """Refuse a split that cannot be trusted.

    Parameters
    ----------
    dataset : str
        Name, for the message.
    split : Split
        Any.

    Raises
    ------
    DatasetError
        If a part is empty, an id is in a part twice, or in two parts.
    """
    lists = {"fit": split.fit, "validation": split.validation, "test": split.test}
    for name, ids in lists.items():
        if not ids:
            msg = f"{dataset}: the {name} part of split {split.name} is empty"
            raise DatasetError(msg)
        if len(set(ids)) < len(ids):
            msg = f"{dataset}: the {name} part of split {split.name} has an image twice"
            raise DatasetError(msg)
    for one, other in (("fit", "validation"), ("fit", "test"), ("validation", "test")):
        shared = sorted(set(lists[one]) & set(lists[other]))
        if shared:
            msg = f"{dataset}: {len(shared)} image(s), first {shared[0]}, are in both {one} and {other} of {split.name}"
            raise DatasetError(msg)


def split_text(dataset: str, split: Split) -> str:
    """Write a split as a text that anyone can read and hash.

    Parameters
    ----------
    dataset : str
        Name, for the first line.
    split : Split
        Any.

    Returns
    -------
    str
        A comment, then ``fit``, ``validation`` or ``test``, a tab and an id on every line, sorted within each part.
    """
    lines = [f"# {dataset}, split {split.name}, ids sha256 {split.sha256}"]
    for part, ids in (("fit", split.fit), ("validation", split.validation), ("test", split.test)):
        lines += [f"{part}\t{image_id}" for image_id in ids]
    return "\n".join(lines) + "\n"


def first_of_every_class(labels: Labels, ids: Iterable[str], n: int) -> tuple[str, ...]:
    """Choose a few images for a trial.

    Parameters
    ----------
    labels : ClassLabels or MultiLabels
        Of the labelled ones; the others are chosen as a class of their own.
    ids : iterable of str
        To choose from.
    n : int
        Per class: the first by rank that show it.

    Returns
    -------
    tuple of str
        Sorted.
    """
    counts: dict[int, int] = {}
    chosen = []
    for image_id in ranked(ids, 0, 0):
        classes = _classes_of(labels, image_id)
        if any(counts.get(k, 0) < n for k in classes):
            chosen.append(image_id)
            for k in classes:
                counts[k] = counts.get(k, 0) + 1
    return tuple(sorted(chosen))


def trial_record(record: DatasetRecord, limit: int) -> DatasetRecord:
    """Return the record of a trial with a few images.

    Parameters
    ----------
    record : DatasetRecord
        Of the whole dataset.
    limit : int
        Images of every class, in every part.

    Returns
    -------
    DatasetRecord
        Its title says that it is a trial; random splits shrink with the images.

    Raises
    ------
    DatasetError
        If the limit leaves nothing to divide.
    """
    protocol = record.protocol
    if isinstance(protocol, RandomSplits):
        if limit < 3:
            msg = f"--limit {limit} leaves no images to fit on, to choose C and to test; use 3 or more"
            raise DatasetError(msg)
        train = min(protocol.train_per_class, max(2, 2 * limit // 3))
        protocol = protocol.model_copy(update={"train_per_class": train, "sha256": None})
    title = f"{record.title} (TRIAL: up to {limit} images of every class)"
    return record.model_copy(update={"title": title, "protocol": protocol})


def _classes_of(labels: Labels, image_id: str) -> tuple[int, ...]:
    if image_id not in labels.by_id:
        return (-1,)
    if isinstance(labels, ClassLabels):
        return (labels.by_id[image_id],)
    return tuple(k for k, value in enumerate(labels.by_id[image_id]) if value == 1)


def _recorded_random_splits(record: DatasetRecord, protocol: RandomSplits, labels: Labels) -> tuple[Split, ...]:
    if not isinstance(labels, ClassLabels):
        msg = f"{record.name}: random splits by class need one label per image"
        raise DatasetError(msg)
    splits = random_splits(
        labels,
        n_splits=protocol.splits,
        seed=protocol.seed,
        train_per_class=protocol.train_per_class,
        test_per_class=protocol.test_per_class,
        validation_fraction=protocol.validation_fraction,
    )
    for split, stated in zip(splits, protocol.sha256 or (), strict=False):
        if split.sha256 != stated:
            msg = (
                f"{record.name}: split {split.name} is not the recorded one.\n  Found:    sha256 {split.sha256}\n"
                f"  Recorded: sha256 {stated}\n  Scores on other splits do not compare; run: tb datasets check "
                f"{record.name}"
            )
            raise DatasetError(msg)
    return splits


def _members(record: DatasetRecord, parts: Mapping[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    if not parts.get(name):
        msg = f"{record.name}: the part {name} is not there.\n  Look closer: tb datasets check {record.name}"
        raise DatasetError(msg)
    return parts[name]


def _division(fit: str, validation: str, test: str) -> str:
    return f"{fit}+{validation} to {test}"


def _split(name: str, fit: Iterable[str], validation: Iterable[str], test: Iterable[str]) -> Split:
    return Split(name=name, fit=tuple(sorted(fit)), validation=tuple(sorted(validation)), test=tuple(sorted(test)))


def _train_test(
    record: DatasetRecord,
    protocol: TrainTest,
    labels: Labels,
    parts: Mapping[str, tuple[str, ...]],
    remark: str,
) -> Split:
    train = _members(record, parts, protocol.train)
    # People of one image stay together: they share the features of the whole image.
    images = {i: image_of(i) if record.task == "multi_label_per_box" else i for i in train}
    strata: dict[int, list[str]] = {}  # by class, where every image has one
    for image_id, image in images.items():
        number = labels.by_id[image_id] if isinstance(labels, ClassLabels) else 0
        strata.setdefault(number, []).append(image)
    chosen: set[str] = set()
    for number in sorted(strata):
        order = ranked(set(strata[number]), protocol.seed, 0)
        if len(order) < 2:
            msg = f"{record.name}: {order[0]} is alone in its class in {protocol.train}; two are needed to choose C"
            raise DatasetError(msg)
        chosen.update(order[: max(1, round(protocol.validation_fraction * len(order)))])
    validation = [i for i in train if images[i] in chosen]
    fit = set(train) - set(validation)
    return _split(
        f"{protocol.train} to {protocol.test}{remark}", fit, validation, _members(record, parts, protocol.test)
    )


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
