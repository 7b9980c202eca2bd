"""A dataset on disk → ids, labels, images. Knows layouts and pixels, no nets."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from PIL import Image

from transferbench.data.coco import survey_coco
from transferbench.data.dataset import SurveyedDataset
from transferbench.data.digits import Digits
from transferbench.data.folders import survey_class_folders, survey_own_folder
from transferbench.data.ilsvrc import survey_ilsvrc
from transferbench.data.layouts import BundledLayout
from transferbench.data.pack.layout import is_pack
from transferbench.data.pack.reading import PackedDataset
from transferbench.data.pictures import Pictures
from transferbench.data.place import HERE, Place
from transferbench.data.protocols import Pretraining
from transferbench.data.record import DatasetRecord, is_own, load_record, record_names
from transferbench.data.survey import Survey
from transferbench.data.table import survey_own_table
from transferbench.data.voc import survey_voc, survey_voc_action
from transferbench.errors import DatasetError
from transferbench.lookup import lookup
from transferbench.types.labels import ClassLabels, Labels
from transferbench.types.regions import Region
from transferbench.types.split import Split


class Dataset(Protocol):
    """A target of transfer: images with labels, and how they are divided."""

    record: DatasetRecord
    ids: tuple[str, ...]
    labels: Labels
    limit: int | None

    @property
    def images_sha256(self) -> str:
        """Identity of the ids and of what is behind them."""

    def image(self, image_id: str) -> Image.Image:
        """Return one image in mode RGB."""

    def pictures(self, region: Region) -> Pictures:
        """Return what a net is shown of the images: all of each, or the boxes in them."""

    def splits(self) -> tuple[Split, ...]:
        """Return the protocol's splits."""


class Source(Protocol):
    """A dataset to pretrain on."""

    record: DatasetRecord
    labels: Labels
    limit: int | None

    @property
    def images_sha256(self) -> str:
        """Identity of the ids and, but for ILSVRC, of what is behind them."""

    def image(self, image_id: str) -> Image.Image:
        """Return one image in mode RGB."""

    def training_and_held_out(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the ids to train on and the ids to watch."""


def open_dataset(name: str, place: Place = HERE) -> Dataset:
    """Open a target dataset.

    Parameters
    ----------
    name : str
        With a record, ``imagefolder:PATH``, ``csv:PATH``, or of a plugin in the group ``transferbench.datasets``: a
        callable that takes a `Place`.
    place : Place
        Where its files are, and how many of them are wanted.

    Returns
    -------
    Dataset
        Ready to give images.

    Raises
    ------
    DatasetError
        If files are missing, damaged or not what the record states; or if it is a dataset to pretrain on.
    UnknownNameError
        If there is no such dataset.
    """
    if is_own(name):
        return SurveyedDataset(survey(name, place), place, name)
    return lookup("dataset", name, _recorded(), "transferbench.datasets")(place)


def open_source(name: str, place: Place = HERE) -> Source:
    """Open a dataset to pretrain on.

    Parameters
    ----------
    name : str
        With a record, ``imagefolder:PATH`` or ``csv:PATH``.
    place : Place
        Where its files are, or a pack of them, and how many of them are wanted.

    Returns
    -------
    Source
        Ready to give images.

    Raises
    ------
    DatasetError
        If files are missing, damaged or not what the record states, or an image has several labels.
    UnknownNameError
        If there is no such dataset.
    """
    if name == "digits":
        return Digits("source", place)
    if is_pack(folder := packed_in(name, place)):
        return PackedDataset(None if is_own(name) else load_record(name), replace(place, folder=folder))
    source = SurveyedDataset(survey(name, place), place, name)
    if not isinstance(source.labels, ClassLabels):
        msg = f"{name} has several labels per image; pretraining needs one"
        raise DatasetError(msg)
    return source


def packed_in(name: str, place: Place) -> Path:
    """Say where the pack of a dataset would be.

    Parameters
    ----------
    name : str
        With a record, or ``imagefolder:PATH``.
    place : Place
        Where to look; the path in the name counts for the user's own data.

    Returns
    -------
    Path
        Whether or not there is a pack.
    """
    return Path(name.partition(":")[2]).expanduser().absolute() if is_own(name) else place.folder


def survey(name: str, place: Place) -> Survey:
    """Look at a dataset's folder without judging it.

    Parameters
    ----------
    name : str
        With a record, ``imagefolder:PATH`` or ``csv:PATH``.
    place : Place
        Where to look; the path in the name counts for the user's own data.

    Returns
    -------
    Survey
        What is there, and everything that is wrong with it.

    Raises
    ------
    DatasetError
        If the user's own data are of no known form, a folder cannot be read, or the dataset comes with a package and
        has no folder.
    UnknownNameError
        If there is no such dataset.
    """
    try:
        return _survey(name, place)
    except OSError as problem:
        msg = f"{problem.filename or place.folder}: cannot be looked through: {problem.strerror}"
        raise DatasetError(msg) from problem


def _survey(name: str, place: Place) -> Survey:
    if is_own(name):
        kind, _, path = name.partition(":")
        return _OWN[kind](name, Path(path).expanduser().absolute())
    record = load_record(name)
    look = LAYOUTS.get(record.layout.kind)
    if look is None:
        msg = f"{name} comes with a package and has no folder to look at; it is checked whenever it is opened"
        raise DatasetError(msg)
    return look(record, place.folder)


LAYOUTS: dict[str, Callable[[DatasetRecord, Path], Survey]] = {
    "voc": survey_voc,
    "voc_action": survey_voc_action,
    "class_folders": survey_class_folders,
    "coco": survey_coco,
    "ilsvrc": survey_ilsvrc,
}
_OWN: dict[str, Callable[[str, Path], Survey]] = {"imagefolder": survey_own_folder, "csv": survey_own_table}


def _recorded() -> Mapping[str, Callable[[Place], Dataset]]:
    """Every dataset with a record, by name: its layout says how it is read."""
    return {name: _opener(name) for name in record_names()}


def _opener(name: str) -> Callable[[Place], Dataset]:
    def opened(place: Place) -> Dataset:
        record = load_record(name)
        if isinstance(record.protocol, Pretraining):
            msg = f"{name} is a dataset to pretrain on (tb pretrain); it has no splits for a transfer experiment"
            raise DatasetError(msg)
        if isinstance(record.layout, BundledLayout):
            return Digits("target", place)
        return SurveyedDataset(survey(name, place), place, name)

    return opened
