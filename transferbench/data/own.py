"""The record of a dataset that is a path of the user's: made up from what lies there."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from transferbench.data.layouts import OwnFolderLayout, OwnTableLayout
from transferbench.data.protocols import FixedSplit, Protocol, RandomSplits, TrainTest
from transferbench.data.record import DatasetRecord, Part
from transferbench.errors import DatasetError

ALL = "all"
_SPLITS, _SEED, _TRAIN, _VALIDATION = 3, 1, 30, 0.2
_SMALLEST = 4


def own_name(name: str) -> str:
    """Turn a path of the user's into a name that can be a folder's.

    Parameters
    ----------
    name : str
        For instance ``imagefolder:~/my pets``.

    Returns
    -------
    str
        For instance ``imagefolder-my_pets``. What is in it, not its name, decides what is reused.
    """
    kind, _, path = name.partition(":")
    return f"{kind}-{re.sub(r'[^A-Za-z0-9.-]+', '_', Path(path).expanduser().absolute().name)}"


def own_record(
    name: str, layout: Literal["own_folder", "own_table"], by_part: Mapping[str, Sequence[str]], what: str
) -> DatasetRecord:
    """Make up the record of a single-label dataset.

    Parameters
    ----------
    name : str
        As the user wrote it.
    layout : {"own_folder", "own_table"}
        Where it comes from.
    by_part : mapping of str to sequence of str
        The class of every image, by part: ``all``, or ``train`` with ``test``, ``val`` or both.
    what : str
        Where it comes from, for a person.

    Returns
    -------
    DatasetRecord
        Where no parts are given: three random splits of up to 30 training images per class, and never more than half
        of the smallest class.

    Raises
    ------
    DatasetError
        If there are fewer than two classes, or too few images of one.
    """
    classes = tuple(sorted({name for names in by_part.values() for name in names}))
    if len(classes) < 2:
        msg = f"{what}: {len(classes)} class(es) with images; at least two are needed, each with a folder or label."
        raise DatasetError(msg)
    for part, names in by_part.items():
        lacking = sorted(set(classes) - set(names))
        if lacking:
            msg = f"{what}: part {part} has no image of {', '.join(lacking[:3])}; every class is needed in every part"
            raise DatasetError(msg)
    return DatasetRecord(
        version=1,
        name=own_name(name),
        title=f"own images, {what}",
        layout=OwnFolderLayout(kind="own_folder") if layout == "own_folder" else OwnTableLayout(kind="own_table"),
        task="single_label",
        metric="mean class recall",
        classes=classes,
        parts={part: Part(images=len(names), use="as given") for part, names in by_part.items()},
        counts_source="counted",
        protocol=_protocol(by_part, what),
        source=what,
        licence="not stated",
        citation="none",
    )


def own_multi_label_record(name: str, classes: tuple[str, ...], sizes: Mapping[str, int], what: str) -> DatasetRecord:
    """Make up the record of a multi-label dataset.

    Parameters
    ----------
    name : str
        As the user wrote it.
    classes : tuple of str
        Sorted.
    sizes : mapping of str to int
        Images by part: ``train`` with ``test``, ``val`` or both.
    what : str
        Where it comes from, for a person.

    Returns
    -------
    DatasetRecord
        Measured by mean average precision, the area first.
    """
    return DatasetRecord(
        version=1,
        name=own_name(name),
        title=f"own images, {what}",
        layout=OwnTableLayout(kind="own_table"),
        task="multi_label",
        metric="mean average precision",
        average_precision="area",
        classes=classes,
        parts={part: Part(images=size, use="as given") for part, size in sizes.items()},
        counts_source="counted",
        protocol=_by_parts(sizes),
        source=what,
        licence="not stated",
        citation="none",
    )


def _protocol(by_part: Mapping[str, Sequence[str]], what: str) -> Protocol:
    if ALL not in by_part:
        return _by_parts(by_part)
    name, smallest = min(Counter(by_part[ALL]).items(), key=lambda item: item[1])
    if smallest < _SMALLEST:
        msg = (
            f"{what}: class {name!r} has {smallest} image(s); at least {_SMALLEST} are needed to train, to choose C "
            "and to test.\n  Add images, remove the class, or give the division yourself: train and test."
        )
        raise DatasetError(msg)
    return RandomSplits(
        kind="random_splits",
        splits=_SPLITS,
        seed=_SEED,
        train_per_class=min(_TRAIN, smallest // 2),
        test_per_class=None,
        validation_fraction=_VALIDATION,
    )


def _by_parts(parts: Iterable[str]) -> Protocol:
    names = set(parts)
    if {"val", "test"} <= names:
        return FixedSplit(kind="fixed_split", fit="train", validation="val", test="test")
    test = "test" if "test" in names else "val"
    return TrainTest(kind="train_test", train="train", test=test, validation_fraction=_VALIDATION, seed=_SEED)
