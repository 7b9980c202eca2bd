"""What is known about a dataset before looking at a disk: its record, and what others published on it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from transferbench import builtin
from transferbench.documents import Document, read_document
from transferbench.errors import UnknownNameError
from transferbench.lookup import dataset_names, unknown
from transferbench.types import PublishedRow

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=1)]


class Part(Document):
    """A fixed set of images within a dataset."""

    images: Count
    ids_sha256: Sha256
    use: str


class RandomSplits(Document):
    """Several random divisions into training and test images, the same number of training images from every class."""

    kind: Literal["random_splits"]
    splits: Count
    seed: int
    train_per_class: Count
    test_per_class: Count | None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]

    def sentence(self) -> str:
        """Say the protocol in words.

        Returns
        -------
        str
            Without a full stop.
        """
        rest = "the rest" if self.test_per_class is None else f"up to {self.test_per_class}"
        return (
            f"{self.splits} random splits (seed {self.seed}), {self.train_per_class} training images "
            f"per class, {rest} to test, "
            f"{self.validation_fraction:.0%} of training to choose C"
        )


class DatasetRecord(Document):
    """A dataset as ``datasets/<name>/dataset.yaml`` states it."""

    version: Literal[1]
    name: str
    title: str
    task: Literal["single_label"]
    metric: Literal["mean class recall"]
    classes: tuple[str, ...] = Field(min_length=2)
    images_sha256: Sha256
    parts: dict[str, Part]
    protocol: RandomSplits
    source: str
    licence: str
    citation: str


class _Row(Document):
    key: str
    metric: str
    value: Annotated[float, Field(ge=0, le=1)]
    spread: Annotated[float, Field(ge=0)] | None
    source: str
    tolerance: Annotated[float, Field(gt=0)]


class _Published(Document):
    version: Literal[1]
    rows: tuple[_Row, ...]


def record_names() -> list[str]:
    """List the datasets whose record is shipped.

    Returns
    -------
    list of str
        Sorted.
    """
    return sorted(path.parent.name for path in builtin.folder("datasets").glob("*/dataset.yaml"))


def load_record(name: str) -> DatasetRecord:
    """Read the shipped record of a dataset.

    Parameters
    ----------
    name : str
        Name of the dataset.

    Returns
    -------
    DatasetRecord
        The whole record.

    Raises
    ------
    UnknownNameError
        If no record of that name is shipped.
    """
    return read_document(_folder(name) / "dataset.yaml", DatasetRecord)


def load_published(name: str) -> dict[str, PublishedRow]:
    """Read the numbers that a result on this dataset may stand beside.

    Parameters
    ----------
    name : str
        Name of the dataset.

    Returns
    -------
    dict of str to PublishedRow
        By key.
    """
    rows = read_document(_folder(name) / "published.yaml", _Published).rows
    return {row.key: PublishedRow(**row.model_dump()) for row in rows}


def published_row(dataset: str, key: str) -> PublishedRow:
    """Look up one published number.

    Parameters
    ----------
    dataset : str
        Name of the dataset.
    key : str
        As a recipe claims it.

    Returns
    -------
    PublishedRow
        The row.

    Raises
    ------
    UnknownNameError
        If the dataset has no such row.
    """
    rows = load_published(dataset)
    if key not in rows:
        raise UnknownNameError(unknown(f"published row of {dataset}", key, rows))
    return rows[key]


def _folder(name: str) -> Path:
    folder = builtin.folder("datasets") / name
    if not (folder / "dataset.yaml").is_file():
        raise UnknownNameError(unknown("dataset", name, dataset_names()))
    return folder
