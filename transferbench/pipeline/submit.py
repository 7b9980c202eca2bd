"""`tb submit`: entries to the VOC evaluation server, written from results and read back."""

from pathlib import Path
from typing import NamedTuple

from transferbench.data import open_dataset
from transferbench.data.dataset import SurveyedDataset
from transferbench.data.layouts import VocActionLayout, VocLayout
from transferbench.data.protocols import ServerTest
from transferbench.data.survey import some
from transferbench.errors import DatasetError, ResultError
from transferbench.files import sha256_file
from transferbench.home import Home
from transferbench.pipeline.datasets import WHOLE, DataOptions, place_of
from transferbench.reporting.result import Result, list_results, load_result
from transferbench.reporting.submission import Entry, check_submission, write_submission
from transferbench.reporting.test_scores import OFFICIAL, load_test_scores


class Written(NamedTuple):
    """An archive for the server.

    Parameters
    ----------
    archive : Path
        What to upload.
    sha256 : str
        Of its bytes: the same scores give the same.
    result : Path
        Folder of the result that the scores are from.
    """

    archive: Path
    sha256: str
    result: Path


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


def submit(name: str, recipe: str | None, home: Home, data: DataOptions = WHOLE, output: Path | None = None) -> Written:
    """Write the entry of a result.

    Parameters
    ----------
    name : str
        Of the dataset.
    recipe : str or None
        A recipe (its newest result counts), or a result's folder; the newest result on the dataset if None.
    home : Home
        The work folder.
    data : DataOptions
        Where the images are.
    output : Path or None
        The archive, ending in ``.tar.gz``; a name in the result's folder if None.

    Returns
    -------
    Written
        Checked as the server would.

    Raises
    ------
    DatasetError
        If the dataset has no such test, or its test images are not there.
    ResultError
        If there is no result with scores of exactly the test entries that are there, or they cannot be submitted.
    """
    entry = entry_of(name, home, data)
    folder, result = _result_on(name, recipe, home)
    again = f"  Evaluate it on all of them: tb run {result.recipe_name}"
    if result.limit is not None:
        msg = f"{folder}: is a trial with up to {result.limit} images of every class, so no entry.\n{again}"
        raise ResultError(msg)
    kept = load_test_scores(folder, result.test_scores_sha256)
    found = next((scores for scores in kept if scores.split == OFFICIAL), None)
    if found is None:
        msg = f"{folder}: has no scores of test images: they were not there when it was evaluated.\n{again}"
        raise ResultError(msg)
    skipped = sorted({one.id for one in result.skipped} & set(entry.ids))
    if skipped:
        msg = (
            f"{folder}: has no scores of {some(skipped, 'test entry', 'test entries')}: left out when evaluated, since "
            f"the image could not be decoded, and the server wants all.\n  Get those images again.\n{again}"
        )
        raise ResultError(msg)
    if found.ids != entry.ids:
        differing = len(set(found.ids) ^ set(entry.ids))
        msg = f"{folder}: was evaluated on other test entries than are there now, {differing} differ.\n{again}"
        raise ResultError(msg)
    archive = output or folder / f"{result.recipe_name}-{entry.year}-{entry.competition}.tar.gz"
    write_submission(archive, entry, {c: found.values[:, k].tolist() for k, c in enumerate(result.classes)})
    return Written(archive, sha256_file(archive), folder)


def _result_on(name: str, recipe: str | None, home: Home) -> tuple[Path, Result]:
    """Find the newest result on a dataset; a trial only where there is nothing else, so that it can be said."""
    folders = [Path(recipe)] if recipe is not None and Path(recipe).is_dir() else list_results(home.results, recipe)
    trials = []
    for folder in reversed(folders):
        result = load_result(folder)
        if result.dataset == name and result.limit is None:
            return folder, result
        if result.dataset == name:
            trials.append((folder, result))
    if trials:
        return trials[0]
    of = f" of {recipe}" if recipe is not None else ""
    msg = f"there is no result on {name}{of} in {home.results}.\n  Make one: tb run {recipe or 'RECIPE'}"
    raise ResultError(msg)
