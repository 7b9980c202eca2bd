"""What is known about a dataset before looking at a disk: its record, and what others published on it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from transferbench import builtin
from transferbench.documents import Document, read_document
from transferbench.errors import DocumentError, UnknownNameError
from transferbench.lookup import OWN_DATA, dataset_names, unknown
from transferbench.types.scores import MadeWith, PublishedRow

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


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


class RandomSplits(Document):
    """Several random divisions into training and test images, the same number of training images from every class."""

    kind: Literal["random_splits"]
    splits: Count
    seed: int
    train_per_class: Count
    test_per_class: Count | None
    validation_fraction: Fraction
    sha256: tuple[Sha256, ...] | None = None

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


class FixedSplit(Document):
    """One division, by the lists that come with the data."""

    kind: Literal["fixed_split"]
    fit: str
    validation: str
    test: str

    def sentence(self) -> str:
        """Say the protocol in words.

        Returns
        -------
        str
            Without a full stop.
        """
        return f"fit on {self.fit}, choose C on {self.validation}, train on both, test on {self.test}"


class TrainTest(Document):
    """One division by two lists; C is chosen on a random part of the training images."""

    kind: Literal["train_test"]
    train: str
    test: str
    validation_fraction: Fraction
    seed: int

    def sentence(self) -> str:
        """Say the protocol in words.

        Returns
        -------
        str
            Without a full stop.
        """
        return (
            f"train on {self.train} ({self.validation_fraction:.0%} of it, seed {self.seed}, to choose C), "
            f"test on {self.test}"
        )


class ServerTest(Document):
    """Test labels only the organisers have; the local number is another one and is called so."""

    kind: Literal["server_test"]
    fit: str
    validation: str
    test: str
    competition: str
    local: TrainTest

    def sentence(self) -> str:
        """Say the protocol in words.

        Returns
        -------
        str
            Without a full stop.
        """
        return (
            f"official: fit on {self.fit}, choose C on {self.validation}, train on both, submit {self.test} to the "
            f"server as {self.competition}; local (another number): {self.local.sentence()}"
        )


class Pretraining(Document):
    """A dataset to pretrain on: images to train on, and images to watch."""

    kind: Literal["pretraining"]
    training: str
    held_out: str

    def sentence(self) -> str:
        """Say the protocol in words.

        Returns
        -------
        str
            Without a full stop.
        """
        return f"train on {self.training}, watch {self.held_out}"


Protocol = Annotated[
    RandomSplits | FixedSplit | TrainTest | ServerTest | Pretraining,
    Field(discriminator="kind"),
]


class BundledLayout(Document):
    """Comes with a package; there is nothing on disk to look for."""

    kind: Literal["bundled"]


class VocLayout(Document):
    """A tree of the VOC development kit, for classification."""

    kind: Literal["voc"]
    folder: str
    holds_other_tasks: bool


class VocActionLayout(Document):
    """A tree of the VOC development kit, for the actions of annotated people."""

    kind: Literal["voc_action"]
    folder: str


class ClassFoldersLayout(Document):
    """A folder of images per class."""

    kind: Literal["class_folders"]
    folder: str


class CocoLayout(Document):
    """COCO's ``instances_*.json`` beside folders of images."""

    kind: Literal["coco"]


class IlsvrcLayout(Document):
    """Training folders by WordNet id, validation images flat or in folders, and the development kit."""

    kind: Literal["ilsvrc"]


class OwnFolderLayout(Document):
    """A user's folder of class folders."""

    kind: Literal["own_folder"]


class OwnTableLayout(Document):
    """A user's CSV file of paths and labels."""

    kind: Literal["own_table"]


Layout = Annotated[
    BundledLayout
    | VocLayout
    | VocActionLayout
    | ClassFoldersLayout
    | CocoLayout
    | IlsvrcLayout
    | OwnFolderLayout
    | OwnTableLayout,
    Field(discriminator="kind"),
]


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


def protocol_parts(protocol: Protocol) -> tuple[str, ...]:
    """List the parts of a dataset that a protocol names.

    Parameters
    ----------
    protocol : Protocol
        Any kind.

    Returns
    -------
    tuple of str
        In the order of use; empty for random splits.
    """
    match protocol:
        case FixedSplit():
            return protocol.fit, protocol.validation, protocol.test
        case TrainTest():
            return protocol.train, protocol.test
        case ServerTest():
            return protocol.fit, protocol.validation, protocol.test
        case Pretraining():
            return protocol.training, protocol.held_out
        case _:
            return ()


class _MadeWith(Document):
    nets: tuple[str, ...] = Field(min_length=1)
    aggregate: Literal["stack", "average", "max"] | None = None
    scales: tuple[Count, ...] = ()
    regions: tuple[Literal["image", "box"], ...] = ("image",)
    splits: Count | None = None
    average_precision: Literal["eleven_point", "area", "non_interpolated"] | None = None
    average_precision_stated: bool = True
    test: Literal["local", "server"] = "local"


class _Row(Document):
    key: str
    metric: str
    value: Annotated[float, Field(ge=0, le=1)]
    spread: Annotated[float, Field(ge=0)] | None
    source: str
    tolerance: Annotated[float, Field(gt=0)]
    made_with: _MadeWith | None = None

    def value_of(self) -> PublishedRow:
        made_with = None if self.made_with is None else MadeWith(**self.made_with.model_dump())
        return PublishedRow(**{**self.model_dump(), "made_with": made_with})


class _Published(Document):
    version: Literal[1]
    rows: tuple[_Row, ...]


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


def load_published(name: str) -> dict[str, PublishedRow]:
    """Read the numbers that a result on this dataset may stand beside.

    Parameters
    ----------
    name : str
        Name of the dataset.

    Returns
    -------
    dict of str to PublishedRow
        By key; empty for a dataset of the user's own.
    """
    if is_own(name):
        return {}
    path = record_folder(name) / "published.yaml"
    rows = read_document(path, _Published).rows if path.is_file() else ()
    return {row.key: row.value_of() for row in rows}


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
