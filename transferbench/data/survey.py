"""What a look at a folder found: images, parts, labels, boxes, and everything that is wrong. Opens no image."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from transferbench.data.record import DatasetRecord
from transferbench.types.labels import ClassLabels, Labels, MultiLabels
from transferbench.types.regions import Box

Severity = Literal["ok", "info", "stray", "missing", "corrupt", "wrong"]
PROBLEMS: frozenset[Severity] = frozenset({"missing", "corrupt", "wrong"})
"""Findings with which a dataset cannot be used; the others are told and no more."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a check.

    Parameters
    ----------
    severity : {"ok", "info", "stray", "missing", "corrupt", "wrong"}
        The last three stop a dataset from being used.
    what : str
        What was found.
    where : str
        Path, relative to the dataset's folder where it is inside.
    todo : str
        How to mend it; empty if nothing is to be done.
    """

    severity: Severity
    what: str
    where: str = ""
    todo: str = ""

    @property
    def is_problem(self) -> bool:
        """Whether the dataset cannot be used with it."""
        return self.severity in PROBLEMS


class Notes:
    """Findings while they are being gathered.

    Parameters
    ----------
    folder : Path
        Of the dataset; places inside it are shown relative to it.
    """

    def __init__(self, folder: Path) -> None:
        self.findings: list[Finding] = []
        self._folder = folder

    def add(self, severity: Severity, what: str, where: Path | str = "", todo: str = "") -> None:
        """Note one finding.

        Parameters
        ----------
        severity, what, where, todo
            As in `Finding`.
        """
        self.findings.append(Finding(severity, what, self.shown(where) if isinstance(where, Path) else where, todo))

    def shown(self, path: Path) -> str:
        """Write a path relative to the dataset's folder where it is inside.

        Parameters
        ----------
        path : Path
            Any.

        Returns
        -------
        str
            For a person.
        """
        return str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else str(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A dataset as it lies on a disk.

    Parameters
    ----------
    record : DatasetRecord
        What it should be.
    layout : str
        What was recognised, for a person; empty if nothing was.
    files : dict of str to str
        Image file of every id, absolute. Several ids may share a file (people in one image).
    parts : dict of str to tuple of str
        Ids of the parts, in the order of their lists.
    labels : ClassLabels or MultiLabels
        Of the labelled ids.
    boxes : dict of str to Box
        Of the annotated person, where ids are people.
    annotations : dict of str to str
        File with the boxes of the objects in an image, where there is one; absolute.
    findings : tuple of Finding
        In the order in which they were made.
    """

    record: DatasetRecord
    layout: str
    files: dict[str, str]
    parts: dict[str, tuple[str, ...]]
    labels: Labels
    boxes: dict[str, Box] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids that have a file, sorted."""
        return tuple(sorted(self.files))

    @classmethod
    def of_nothing(cls, record: DatasetRecord, notes: Notes) -> "Survey":
        """Return the survey of a folder in which nothing was recognised.

        Parameters
        ----------
        record : DatasetRecord
            What was looked for.
        notes : Notes
            Why nothing was found.

        Returns
        -------
        Survey
            Without images.
        """
        return cls(
            record=record,
            layout="",
            files={},
            parts={},
            labels=empty_labels(record),
            findings=tuple(notes.findings),
        )


def empty_labels(record: DatasetRecord) -> Labels:
    """Return labels of no image, of the kind that a record's task asks for.

    Parameters
    ----------
    record : DatasetRecord
        States task and classes.

    Returns
    -------
    ClassLabels or MultiLabels
        With the record's classes.
    """
    if record.task == "single_label":
        return ClassLabels(classes=record.classes, by_id={})
    return MultiLabels(classes=record.classes, by_id={})


def sorted_entries(folder: Path) -> list[Path]:
    """List a folder in an order that is the same on every machine.

    Parameters
    ----------
    folder : Path
        An existing folder.

    Returns
    -------
    list of Path
        Sorted by name, by code point.
    """
    return sorted(folder.iterdir(), key=lambda path: path.name)


def is_image(path: Path) -> bool:
    """Tell an image file by its name.

    Parameters
    ----------
    path : Path
        Any.

    Returns
    -------
    bool
        True for visible regular files with the suffix of a JPEG or PNG.
    """
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def some(names: Iterable[str], noun: str, plural: str | None = None) -> str:
    """Count things and name the first.

    Parameters
    ----------
    names : iterable of str
        At least one.
    noun : str
        In the singular.
    plural : str, optional
        Where it is not the noun with an s.

    Returns
    -------
    str
        For instance ``3 images, first 000012.jpg``.
    """
    listed = list(names)
    return (
        f"1 {noun}, {listed[0]}" if len(listed) == 1 else f"{len(listed):,} {plural or noun + 's'}, first {listed[0]}"
    )


def assemble_labels(record: DatasetRecord, rows: Mapping[str, Sequence[int | None]]) -> MultiLabels:
    """Keep the rows of labels that are complete.

    Parameters
    ----------
    record : DatasetRecord
        States the classes.
    rows : mapping of str to sequence
        For every id a label per class, None where none was found.

    Returns
    -------
    MultiLabels
        Of the ids that have a label for every class.
    """
    complete = {i: tuple(v for v in row if v is not None) for i, row in rows.items()}
    return MultiLabels(
        classes=record.classes, by_id={i: row for i, row in complete.items() if len(row) == len(record.classes)}
    )
