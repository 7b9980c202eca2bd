"""A result as a value and as a folder: written once, whole, and never changed."""

import glob
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from transferbench.documents import Document
from transferbench.errors import ResultError, UnknownNameError
from transferbench.files import publish
from transferbench.lookup import unknown
from transferbench.reporting.test_scores import SplitScores, save_test_scores

RESULT_FILE = "result.json"
_HASH_DIGITS = 8


class SplitScore(Document):
    """One split of one variant."""

    name: str
    sha256: str
    n_fit: int
    n_validation: int
    n_test: int
    C: float
    C_at_edge: bool
    validation: tuple[tuple[float, float], ...]
    value: float
    per_class: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]
    others: tuple[tuple[str, float], ...] = ()


class VariantScore(Document):
    """The recipe's own features, or a floor; `interval` is over test images, `std` over splits."""

    name: str
    title: str
    dimensions: int
    mean: float
    std: float | None
    splits: tuple[SplitScore, ...]
    interval: tuple[float, float] | None = None
    train_per_class: int | None = None


class StatisticsRecord(Document):
    """How intervals were made."""

    level: float
    resamples: int
    seed: int
    method: str


class Entry(Document):
    """What was computed for a server that alone has the test labels; its scores are kept beside the result."""

    competition: str
    sha256: str
    n_fit: int
    n_validation: int
    n_test: int
    C: float
    C_at_edge: bool
    validation: tuple[tuple[float, float], ...]


class BlockRecord(Document):
    """One block of descriptors that the scores rest on."""

    key: str
    spec: dict[str, Any]
    engine: str = ""


class SkippedImage(Document):
    """An image that could not be decoded and is left out, and in which splits it would have been."""

    id: str
    reason: str
    training_in: tuple[str, ...] = ()
    test_in: tuple[str, ...] = ()


class StageRecord(Document):
    """One stage of the command that made the result."""

    name: str
    reused: bool
    seconds: float


class Result(Document):
    """Everything that one evaluation found out, and everything it rests on."""

    format: Literal["transferbench.result"] = "transferbench.result"
    version: Literal[1] = 1
    created: str
    recipe_name: str
    recipe: dict[str, Any]
    inputs_sha256: str
    dataset: str
    dataset_title: str
    metric: str
    limit: int | None = None
    classes: tuple[str, ...]
    scores: tuple[VariantScore, ...]
    solver: str
    blocks: tuple[BlockRecord, ...]
    weights: tuple[dict[str, Any], ...]
    environment: dict[str, str]
    device: str
    git_commit: str | None
    stages: tuple[StageRecord, ...]
    test_scores_sha256: str | None = None
    entry: Entry | None = None
    skipped: tuple[SkippedImage, ...] = ()
    statistics: StatisticsRecord | None = None

    @property
    def per_class_measure(self) -> str:
        """What the metric averages over the classes."""
        return "recall" if self.metric == "mean class recall" else "average precision"

    @property
    def folder_name(self) -> str:
        """``<time>-<hash of the inputs>``, so that names sort by time."""
        return f"{datetime.fromisoformat(self.created):%Y%m%dT%H%M%SZ}-{self.inputs_sha256[:_HASH_DIGITS]}"


def save_result(results: Path, result: Result, test_scores: Sequence[SplitScores] = ()) -> Path:
    """Store a result.

    Parameters
    ----------
    results : Path
        The store.
    result : Result
        What to keep.
    test_scores : sequence of SplitScores
        What was said about every test image. Written first: a folder is a result once it has its `RESULT_FILE`.

    Returns
    -------
    Path
        The folder of the result.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    folder = results / result.recipe_name / result.folder_name
    if test_scores:
        result = result.model_copy(update={"test_scores_sha256": save_test_scores(folder, test_scores)})
    publish(
        folder / RESULT_FILE, (json.dumps(result.model_dump(mode="json"), indent=1, allow_nan=False) + "\n").encode()
    )
    return folder


def load_result(folder: Path) -> Result:
    """Read a stored result.

    Parameters
    ----------
    folder : Path
        As `save_result` returned it.

    Returns
    -------
    Result
        Checked.

    Raises
    ------
    ResultError
        If the file is missing or damaged.
    """
    path = folder / RESULT_FILE
    try:
        return Result.model_validate_json(path.read_bytes())
    except OSError as problem:
        msg = f"{path}: cannot be read: {problem.strerror}"
        raise ResultError(msg) from problem
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"]))
        msg = (
            f"{path}: is damaged or of another version: {f'{where}: ' * bool(where)}{first['msg']}\n"
            f"  It can be deleted, and be made again: tb results rm {folder}"
        )
        raise ResultError(msg) from problem


def readable(folders: Iterable[Path]) -> Iterator[tuple[Path, Result]]:
    """Read stored results, and warn of those that cannot be.

    Parameters
    ----------
    folders : iterable of Path
        As `list_results` returned them.

    Yields
    ------
    tuple of Path and Result
        The same folders, without damaged ones.
    """
    for folder in folders:
        try:
            yield folder, load_result(folder)
        except ResultError as problem:
            warnings.warn(f"left out: {problem}", stacklevel=2)


def find_equal(results: Path, recipe_name: str | None, inputs_sha256: str) -> Path | None:
    """Find a result that was computed from the same inputs.

    Parameters
    ----------
    results : Path
        The store.
    recipe_name : str or None
        Of the recipe; None for any.
    inputs_sha256 : str
        Hash of everything that decides the scores.

    Returns
    -------
    Path or None
        The newest such folder that keeps its test scores; results of early versions do not, and are made again.
    """
    for folder in reversed(list_results(results, recipe_name)):
        if not folder.name.endswith(inputs_sha256[:_HASH_DIGITS]):
            continue
        for _, result in readable([folder]):
            if result.inputs_sha256 == inputs_sha256 and result.test_scores_sha256 is not None:
                return folder
    return None


def list_results(results: Path, recipe_name: str | None = None) -> list[Path]:
    """List stored results.

    Parameters
    ----------
    results : Path
        The store.
    recipe_name : str, optional
        Only of this recipe.

    Returns
    -------
    list of Path
        Oldest first.
    """
    # Names tell the second; of results of one second the file's own time tells the order.
    files = results.glob(f"{'*' if recipe_name is None else glob.escape(recipe_name)}/*/{RESULT_FILE}")
    ordered = sorted(files, key=lambda file: (file.parent.name.partition("-")[0], file.stat().st_mtime_ns))
    return [file.parent for file in ordered]


def newest(folders: Sequence[Path]) -> Path:
    """Choose the result that a recipe's name stands for.

    Parameters
    ----------
    folders : sequence of Path
        Of its results, oldest first; at least one.

    Returns
    -------
    Path
        The last, but not a trial on a few images (``--limit``) where there is a whole one.
    """
    for folder in reversed(folders):
        try:
            if load_result(folder).limit is None:
                return folder
        except ResultError:
            return folder  # a damaged one is told of, not passed over
    return folders[-1]


def find_result(results: Path, name: str | None) -> Path:
    """Find a result by path, by recipe, or the newest of all.

    Parameters
    ----------
    results : Path
        The store.
    name : str, optional
        A folder, the name of one in the store, or a recipe whose newest result is meant (`newest`).

    Returns
    -------
    Path
        An existing folder.

    Raises
    ------
    ResultError
        If there are no results at all, or none of that name.
    UnknownNameError
        If no recipe of that name has results.
    """
    if name is not None and (Path(name) / RESULT_FILE).is_file():
        return Path(name)
    found = list_results(results, name)
    if found:
        return newest(found)
    everything = list_results(results)
    named = [folder for folder in everything if folder.name == name]
    if len(named) == 1:
        return named[0]
    if not everything:
        msg = f"there are no results in {results} yet.\n  Make one: tb run digits_stack"
        raise ResultError(msg)
    raise UnknownNameError(
        unknown("recipe with results, or result folder,", str(name), {folder.parent.name for folder in everything})
    )
