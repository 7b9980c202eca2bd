"""A dataset on disk → ids, labels, images. Knows layouts and pixels, no nets."""

from collections.abc import Callable
from typing import Protocol

from PIL import Image

from transferbench.data.digits import Digits
from transferbench.data.record import DatasetRecord
from transferbench.lookup import lookup
from transferbench.types import ClassLabels, Split


class Dataset(Protocol):
    """A target of transfer: images with labels, and how they are divided."""

    record: DatasetRecord
    ids: tuple[str, ...]
    labels: ClassLabels
    images_sha256: str

    def image(self, image_id: str) -> Image.Image:
        """Return one image in mode RGB."""

    def splits(self) -> tuple[Split, ...]:
        """Return the protocol's splits."""


class Source(Protocol):
    """A dataset to pretrain on."""

    record: DatasetRecord
    labels: ClassLabels
    images_sha256: str

    def image(self, image_id: str) -> Image.Image:
        """Return one image in mode RGB."""

    def training_and_held_out(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the ids to train on and the ids to watch."""


DATASETS: dict[str, Callable[[], Dataset]] = {"digits": lambda: Digits("target")}
SOURCES: dict[str, Callable[[], Source]] = {"digits": lambda: Digits("source")}


def open_dataset(name: str) -> Dataset:
    """Open a target dataset.

    Parameters
    ----------
    name : str
        Built-in, or of a plugin in the group ``transferbench.datasets``.

    Returns
    -------
    Dataset
        Ready to give images.
    """
    return lookup("dataset", name, DATASETS, "transferbench.datasets")()


def open_source(name: str) -> Source:
    """Open a dataset to pretrain on.

    Parameters
    ----------
    name : str
        Name of the dataset.

    Returns
    -------
    Source
        Ready to give images.
    """
    return lookup("dataset to pretrain on", name, SOURCES)()
