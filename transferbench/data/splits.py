"""The divisions that a record states: made, audited, and held against the hashes that it gives."""

from collections import Counter
from collections.abc import Mapping

from transferbench.data.both_sides import held_out
from transferbench.data.people import image_of
from transferbench.data.protocols import FixedSplit, Pretraining, RandomSplits, ServerTest, TrainTest
from transferbench.data.random_splits import random_splits, ranked, sorted_split
from transferbench.data.record import DatasetRecord
from transferbench.errors import DatasetError
from transferbench.types.labels import ClassLabels, Labels, MultiLabels
from transferbench.types.split import Split


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
            splits = (sorted_split(_division(*names), *(_members(record, parts, name) for name in names)),)
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
    split = sorted_split("official", *(_members(record, parts, name) for name in names))
    audit(record.name, split)
    return split


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
    closer = f"\n  Look closer: tb datasets check {dataset}"
    for name, ids in lists.items():
        if not ids:
            msg = f"{dataset}: the {name} part of split {split.name} is empty{closer}"
            raise DatasetError(msg)
        if len(set(ids)) < len(ids):
            repeated = next(i for i, count in Counter(ids).items() if count > 1)
            msg = f"{dataset}: the {name} part of split {split.name} has an image twice: {repeated}{closer}"
            raise DatasetError(msg)
    for one, other in (("fit", "validation"), ("fit", "test"), ("validation", "test")):
        shared = sorted(set(lists[one]) & set(lists[other]))
        if shared:
            msg = (
                f"{dataset}: {len(shared)} image(s), first {shared[0]}, are in both {one} and {other} of split "
                f"{split.name}{closer}"
            )
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
    chosen = (
        _held_out_by_class(record, protocol, labels, train)
        if isinstance(labels, ClassLabels)
        else _held_out_together(protocol, labels, images)
    )
    validation = [i for i in train if images[i] in chosen]
    fit = set(train) - set(validation)
    return sorted_split(
        f"{protocol.train} to {protocol.test}{remark}", fit, validation, _members(record, parts, protocol.test)
    )


def _held_out_by_class(
    record: DatasetRecord, protocol: TrainTest, labels: ClassLabels, train: tuple[str, ...]
) -> set[str]:
    by_class: dict[int, list[str]] = {}
    for image_id in train:
        by_class.setdefault(labels.by_id[image_id], []).append(image_id)
    chosen: set[str] = set()
    for number in sorted(by_class):
        order = ranked(set(by_class[number]), protocol.seed, 0)
        if len(order) < 2:
            msg = f"{record.name}: {order[0]} is alone in its class in {protocol.train}; two are needed to choose C"
            raise DatasetError(msg)
        chosen.update(order[: _share(protocol, order)])
    return chosen


def _held_out_together(protocol: TrainTest, labels: MultiLabels, images: Mapping[str, str]) -> set[str]:
    shown: dict[str, set[int]] = {image: set() for image in images.values()}
    for image_id, image in images.items():
        shown[image].update(k for k, label in enumerate(labels.by_id[image_id]) if label == 1)
    order = ranked(shown, protocol.seed, 0)
    return held_out(order, _share(protocol, order), shown)


def _share(protocol: TrainTest, order: list[str]) -> int:
    return max(1, round(protocol.validation_fraction * len(order)))
