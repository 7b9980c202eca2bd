"""`tb submit`: entries to the VOC evaluation server."""

from pathlib import Path

from transferbench.data import open_dataset
from transferbench.data.dataset import SurveyedDataset
from transferbench.data.record import ServerTest, VocActionLayout, VocLayout
from transferbench.errors import DatasetError
from transferbench.home import Home
from transferbench.pipeline.datasets import WHOLE, DataOptions, place_of
from transferbench.reporting.submission import Entry, check_submission


def entry_of(name: str, home: Home, data: DataOptions = WHOLE) -> Entry:
    """Work out what an entry on a dataset consists of.

    Parameters
    ----------
    name : str
        Of a dataset whose test labels only the server has.
    home : Home
        The work folder.
    data : DataOptions
        Where the images are.

    Returns
    -------
    Entry
        With every test image, or every test person.

    Raises
    ------
    DatasetError
        If the dataset has no such test, or its test images are not there.
    """
    dataset = open_dataset(name, place_of(name, home, data))
    record = dataset.record
    if not isinstance(dataset, SurveyedDataset) or not isinstance(record.protocol, ServerTest):
        msg = f"{name} has its test labels; there is no server to submit to"
        raise DatasetError(msg)
    split = dataset.official_split()
    if split is None or not isinstance(record.layout, (VocLayout, VocActionLayout)):
        msg = f"{name}: the test images are not there; the archive that holds them: tb datasets show {name}"
        raise DatasetError(msg)
    return Entry(
        year=record.layout.folder,
        competition=record.protocol.competition,
        classes=record.classes,
        ids=split.test,
    )


def check_archive(name: str, archive: Path, home: Home, data: DataOptions = WHOLE) -> list[str]:
    """Check an archive of result files.

    Parameters
    ----------
    name : str
        Of the dataset.
    archive : Path
        Made by whatever program.
    home : Home
        The work folder.
    data : DataOptions
        Where the images are.

    Returns
    -------
    list of str
        A sentence for everything that the server would refuse; empty if there is nothing.
    """
    return check_submission(archive, entry_of(name, home, data))
