"""`tb datasets splits`: the divisions of a dataset, counted and written out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    per_class : dict of str to tuple of int
        Images to fit on, to choose C and to test that show the class.
    text_sha256 : str
        Of its text, as ``sha256sum`` prints it.
    path : Path or None
        Where the text is, if it was written.
    """

    split: Split
    per_class: dict[str, tuple[int, int, int]]
    text_sha256: str
    path: Path | None


def splits(name: str, home: Home, options: DataOptions, folder: Path | None) -> list[WrittenSplit]:
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

    Returns
    -------
    list of WrittenSplit
        In order.

    Raises
    ------
    DatasetError
        If the dataset is not what its record states, or a split fails its audit.
    """
    dataset = target(name, home, options)
    written = []
    for number, split in enumerate(dataset.splits(), 1):
        text = split_text(dataset.record.name, split).encode()
        path = folder / f"{dataset.record.name}-split{number}.txt" if folder is not None else None
        if path is not None:
            publish(path, text)
        counts = [_shown(dataset.labels, ids) for ids in (split.fit, split.validation, split.test)]
        per_class = dict(zip(dataset.labels.classes, zip(*counts, strict=True), strict=True))
        sha256 = hashlib.sha256(text).hexdigest()
        written.append(WrittenSplit(split=split, per_class=per_class, text_sha256=sha256, path=path))
    return written


def _shown(labels: Labels, ids: tuple[str, ...]) -> list[int]:
    """Count the images that show each class."""
    rows = labels.of(ids)
    if isinstance(labels, ClassLabels):
        return [int(n) for n in np.bincount(rows, minlength=len(labels.classes))]
    return [int(n) for n in (rows == 1).sum(axis=0)]
