"""`tb datasets splits`: the divisions of a dataset, counted and written out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transferbench.data.random_splits import low_shot_splits
from transferbench.data.splits import split_text
from transferbench.files import publish
from transferbench.home import Home
from transferbench.pipeline.datasets import DataOptions, target
from transferbench.types.labels import ClassLabels, Labels
from transferbench.types.split import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSplit:
    """A split and what identifies it.

    Parameters
    ----------
    split : Split
        The ids.
    train_per_class : int or None
        Where few were asked for: how many training images of every class.
    per_class : dict of str to tuple of int
        Images to fit on, to choose C and to test that show the class.
    text_sha256 : str
        Of its text, as ``sha256sum`` prints it.
    path : Path or None
        Where the text is, if it was written.
    """

    split: Split
    train_per_class: int | None
    per_class: dict[str, tuple[int, int, int]]
    text_sha256: str
    path: Path | None


def splits(
    name: str, home: Home, options: DataOptions, folder: Path | None, low_shot: Sequence[int] = ()
) -> list[WrittenSplit]:
    """Work out the splits of a dataset, and write them out.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    options : DataOptions
        Where it is.
    folder : Path or None
        Where to write one text per split; nowhere if None.
    low_shot : sequence of int
        Divide with so many training images of every class, as `low_shot` in a recipe does; the whole protocol if empty.

    Returns
    -------
    list of WrittenSplit
        Count by count, in order.

    Raises
    ------
    DatasetError
        If the dataset is not what its record states, a split fails its audit, or a class has fewer training images.
    """
    dataset = target(name, home, options)
    written = []
    whole = dataset.splits()
    counts_of: dict[int | None, tuple[Split, ...]] = (
        {n: low_shot_splits(dataset.record, dataset.labels, whole, n) for n in low_shot} if low_shot else {None: whole}
    )
    for n, number, split in ((n, number, s) for n, found in counts_of.items() for number, s in enumerate(found, 1)):
        text = split_text(dataset.record.name, split).encode()
        few = "" if n is None else f"-{n}-per-class"
        path = folder / f"{dataset.record.name}-split{number}{few}.txt" if folder is not None else None
        if path is not None:
            publish(path, text)
        counts = [_shown(dataset.labels, ids) for ids in (split.fit, split.validation, split.test)]
        per_class = dict(zip(dataset.labels.classes, zip(*counts, strict=True), strict=True))
        sha256 = hashlib.sha256(text).hexdigest()
        written.append(WrittenSplit(split=split, train_per_class=n, per_class=per_class, text_sha256=sha256, path=path))
    return written


def _shown(labels: Labels, ids: tuple[str, ...]) -> list[int]:
    """Count the images that show each class."""
    rows = labels.of(ids)
    if isinstance(labels, ClassLabels):
        return [int(n) for n in np.bincount(rows, minlength=len(labels.classes))]
    return [int(n) for n in (rows == 1).sum(axis=0)]
