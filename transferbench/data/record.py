"""What is known about a dataset before looking at a disk: its record, ``datasets/<name>/dataset.yaml``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from transferbench import builtin
from transferbench.data.layouts import Layout
from transferbench.data.protocols import Protocol, protocol_parts
from transferbench.documents import Count, Document, Sha256, read_document
from transferbench.errors import DocumentError, UnknownNameError
from transferbench.lookup import OWN_DATA, dataset_names, unknown

Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Part(Document):
    """A fixed set of images within a dataset.

    A count that is not `verified` comes from memory: the check reports it beside what it finds and never fails on it.
    """

    images: Count | None = None
    people: Count | None = None
    use: str
    ids_sha256: Sha256 | None = None
    verified: bool = True
    needed: bool = True
    labelled: bool = True


class ClassSizes(Document):
    """How many images the smallest and the largest class have."""

    smallest: Count
    largest: Count | None
    verified: bool


class InnerArchive(Document):
    """Archives inside an archive; ``{stem}`` in `into` is the inner file's name without its suffixes."""

    pattern: str
    into: str


class Archive(Document):
    """A file that the dataset is distributed as.

    `bytes` is exact and checked; `about_bytes` only serves to see whether the disk has room.
    """

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]
    holds: str
    access: Literal["open", "registration"]
    urls: tuple[str, ...]
    page: str | None = None
    md5: Md5 | None = None
    sha256: Sha256 | None = None
    bytes: Count | None = None
    about_bytes: Count | None = None
    into: str = "."
    inner: tuple[InnerArchive, ...] = ()
    needed: bool = True

    @model_validator(mode="after")
    def _can_be_got(self) -> "Archive":
        if self.access == "open" and not self.urls:
            msg = "an open archive needs urls"
            raise ValueError(msg)
        if self.access == "registration" and self.page is None:
            msg = "an archive behind a registration needs the page to register on"
            raise ValueError(msg)
        return self


class DatasetRecord(Document):
    """A dataset as ``datasets/<name>/dataset.yaml`` states it.

    `class_counts` gives, for a part and a class, the positive and the difficult-only images; the second is null where
    it is not published.
    """

    version: Literal[1]
    name: str
    title: str
    layout: Layout
    task: Literal["single_label", "multi_label", "multi_label_per_box"]
    metric: Literal["mean class recall", "mean average precision", "top-5 error"]
    average_precision: Literal["eleven_point", "area", "non_interpolated"] | None = None
    difficult: Literal["left_out"] | None = None
    classes: tuple[str, ...] = ()
    images_sha256: Sha256 | None = None
    parts: dict[str, Part]
    class_counts: dict[str, dict[str, tuple[int, int | None]]] = Field(default={})
    class_sizes: ClassSizes | None = None
    counts_source: str
    protocol: Protocol
    archives: tuple[Archive, ...] = ()
    source: str
    licence: str
    citation: str

    @property
    def images(self) -> int | None:
        """Images in the parts that the protocol uses, or in all; None where a number is not known."""
        counts = [self.parts[name].images for name in protocol_parts(self.protocol) or self.parts]
        return None if None in counts else sum(filter(None, counts))

    @model_validator(mode="after")
    def _fits_together(self) -> "DatasetRecord":
        if (self.metric == "mean average precision") != (self.average_precision is not None):
            msg = "average_precision (which definition comes first) goes with the metric 'mean average precision'"
            raise ValueError(msg)
        unknown_parts = (set(self.class_counts) | set(protocol_parts(self.protocol))) - set(self.parts)
        if unknown_parts:
            msg = f"no such part: {', '.join(sorted(unknown_parts))}; parts are {', '.join(self.parts)}"
            raise ValueError(msg)
        return self


def is_own(name: str) -> bool:
    """Tell whether a dataset's name is a path of the user's.

    Parameters
    ----------
    name : str
        For instance ``imagefolder:pets``.

    Returns
    -------
    bool
        False for datasets with a record.
    """
    return name.startswith(OWN_DATA)


def record_names() -> list[str]:
    """List the datasets that have a record.

    Returns
    -------
    list of str
        Sorted; shipped ones, and those of the folders in ``TB_DATASETS``.
    """
    return sorted({path.parent.name for folder in builtin.record_folders() for path in folder.glob("*/dataset.yaml")})


def load_record(name: str) -> DatasetRecord:
    """Read the record of a dataset.

    Parameters
    ----------
    name : str
        Name of the dataset.

    Returns
    -------
    DatasetRecord
        The whole record; long lists of classes stand in ``classes.txt`` beside it, a class per line.

    Raises
    ------
    UnknownNameError
        If there is no record of that name.
    DocumentError
        If the record is wrong.
    """
    folder = record_folder(name)
    record = read_document(folder / "dataset.yaml", DatasetRecord)
    if record.name != name:
        msg = f"{folder / 'dataset.yaml'}: the record is called {record.name!r}, its folder {name!r}; they must agree"
        raise DocumentError(msg)
    if not record.classes:
        record = record.model_copy(update={"classes": _classes_beside(folder)})
    stray = {name for counts in record.class_counts.values() for name in counts} - set(record.classes)
    if len(set(record.classes)) < max(2, len(record.classes)) or stray:
        detail = f"class_counts names {', '.join(sorted(stray))}" if stray else "they must be two or more, each once"
        msg = f"{folder / 'dataset.yaml'}: the classes are wrong: {detail}"
        raise DocumentError(msg)
    return record


def record_folder(name: str) -> Path:
    """Find the folder of a dataset's record.

    Parameters
    ----------
    name : str
        Name of the dataset.

    Returns
    -------
    Path
        The first of the folders in ``TB_DATASETS``, then the shipped one, that has such a record.

    Raises
    ------
    UnknownNameError
        If none has.
    """
    for folder in builtin.record_folders():
        if (folder / name / "dataset.yaml").is_file():
            return folder / name
    raise UnknownNameError(unknown("dataset", name, dataset_names()))


def _classes_beside(folder: Path) -> tuple[str, ...]:
    path = folder / "classes.txt"
    try:
        return tuple(line for line in path.read_text(encoding="utf-8").splitlines() if line)
    except OSError as problem:
        msg = f"{folder / 'dataset.yaml'}: has no classes, and {path} cannot be read: {problem.strerror}"
        raise DocumentError(msg) from problem
