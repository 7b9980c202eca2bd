"""Opening datasets for the other verbs, and `tb datasets`: check, splits, fetch."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferbench import builtin
from transferbench.data import Dataset, Source, open_dataset, open_source, survey
from transferbench.data.archives import require_room, unpack
from transferbench.data.check import check_images
from transferbench.data.place import Place
from transferbench.data.record import Archive, DatasetRecord, Part, is_own, load_record, record_folder
from transferbench.data.splits import split_text
from transferbench.data.stated import compare_with_record
from transferbench.data.survey import Finding
from transferbench.download import download
from transferbench.errors import DatasetError
from transferbench.files import publish, sha256_file
from transferbench.home import Home
from transferbench.progress import Progress
from transferbench.types import ClassLabels, Labels, PublishedRow, Split

ARCHIVES = "archives"
_GROWTH = 1.3
"""Photographs do not compress: an archive needs about its own size again, annotations a little more."""


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Where the data are, if not in the work folder, and how much of them is wanted.

    Parameters
    ----------
    data_dir : Path, optional
        Instead of the dataset's folder in the work folder.
    limit : int, optional
        For a trial: at most so many images of every class, in every part.
    """

    data_dir: Path | None = None
    limit: int | None = None


WHOLE = DataOptions()
"""All of it, in the work folder."""


def place_of(name: str, home: Home, options: DataOptions = WHOLE) -> Place:
    """Work out where a dataset is.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    options : DataOptions
        What the command line says.

    Returns
    -------
    Place
        Nothing is looked at.
    """
    folder = options.data_dir or home.data / (name if not is_own(name) else "own")
    return Place(folder=folder.expanduser().absolute(), memory=home.data / ".hashes", limit=options.limit)


def target(name: str, home: Home, options: DataOptions = WHOLE) -> Dataset:
    """Open the target of a transfer experiment.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    options : DataOptions
        What the command line says.

    Returns
    -------
    Dataset
        Ready to give images.

    Raises
    ------
    DatasetError
        If it is not there or not what its record states.
    """
    return open_dataset(name, place_of(name, home, options))


def source(name: str, home: Home, options: DataOptions = WHOLE) -> Source:
    """Open a dataset to pretrain on.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    options : DataOptions
        What the command line says.

    Returns
    -------
    Source
        Ready to give images.

    Raises
    ------
    DatasetError
        If it is not there or not what its record states.
    """
    return open_source(name, place_of(name, home, options))


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What `tb datasets check` found.

    Parameters
    ----------
    name : str
        Of the dataset.
    folder : Path
        Where was looked.
    layout : str
        What was recognised; empty if nothing was.
    findings : tuple of Finding
        Problems first.
    """

    name: str
    folder: Path
    layout: str
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        """Whether the dataset can be used."""
        return not any(finding.is_problem for finding in self.findings)


def check(name: str, home: Home, options: DataOptions, *, deep: bool, progress: Progress) -> Check:
    """Compare a dataset on disk with its record: layout, lists, labels, counts, splits, image files.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    options : DataOptions
        Where to look.
    deep : bool
        Decode every image instead of reading its header, and look for equal files.
    progress : Progress
        Told how many images have been opened.

    Returns
    -------
    Check
        Everything that is wrong, not only the first thing.
    """
    place = place_of(name, home, options)
    if not is_own(name) and load_record(name).layout.kind == "bundled":
        opened = open_dataset(name, place)
        told = [Finding("ok", f"{len(opened.ids):,} images, the recorded ones by hash"), *_splits_told(opened.splits())]
        return Check(name=name, folder=place.folder, layout="bundled with a package", findings=tuple(told))
    found = survey(name, place)
    findings = [*_record_told(name), *found.findings, *compare_with_record(found)]
    if found.layout:
        try:
            findings += _splits_told(_splits_of(found.record, name, place, findings))
        except DatasetError as problem:
            findings.append(Finding("wrong", f"no splits can be made: {problem}"))
        with progress.task(f"opening images of {name}", len(set(found.files.values()))) as task:
            findings += check_images(found, deep=deep, done=task.advance)
    order = ("missing", "corrupt", "wrong", "stray", "info", "ok")
    ordered = tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))
    return Check(name=name, folder=place.folder, layout=found.layout, findings=ordered)


def _splits_of(record: DatasetRecord, name: str, place: Place, findings: Sequence[Finding]) -> tuple[Split, ...]:
    if record.protocol.kind == "pretraining" or any(finding.is_problem for finding in findings):
        return ()  # splits of a damaged dataset are other splits; that it is damaged is told already
    return open_dataset(name, place).splits()


def _record_told(name: str) -> list[Finding]:
    if is_own(name) or (folder := record_folder(name)).parent == builtin.folder("datasets"):
        return []
    return [Finding("info", "compared with a record of your own (TB_DATASETS), not with a shipped one", str(folder))]


def _splits_told(splits: Sequence[Split]) -> list[Finding]:
    return [
        Finding(
            "ok",
            f"split {s.name}: {len(s.fit):,} to fit, {len(s.validation):,} to choose C, {len(s.test):,} to test; "
            f"ids sha256 {s.sha256[:16]}",
        )
        for s in splits
    ]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What became of one archive.

    Parameters
    ----------
    archive : Archive
        Which.
    state : str
        What was done, for a person.
    sha256 : str
        Of the file; empty if it is not there any more.
    """

    archive: Archive
    state: str
    sha256: str


def fetch(name: str, home: Home, options: DataOptions, *, keep: bool, progress: Progress) -> list[Fetched]:
    """Download the archives of a dataset, check them and unpack them; what is done is not done again.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    options : DataOptions
        Where it is to be.
    keep : bool
        Whether archives stay after they were unpacked.
    progress : Progress
        Told what happens.

    Returns
    -------
    list of Fetched
        One per archive.

    Raises
    ------
    DatasetError
        If there is nothing to fetch, the disk has no room, or an archive is refused; or if archives behind a
        registration are not there yet: the message says where to register and where to put them.
    DownloadError
        If no address gives an archive.
    """
    if is_own(name) or not (record := load_record(name)).archives:
        msg = f"{name} has no archives to fetch"
        raise DatasetError(msg)
    folder = place_of(name, home, options).folder
    wanted = [archive for archive in record.archives if not _marker(folder, archive).is_file()]
    _require_room_for(folder, name, wanted)
    done = []
    gated = []
    for archive in record.archives:
        file = folder / ARCHIVES / archive.file
        if archive not in wanted:
            done.append(Fetched(archive=archive, state="was unpacked before", sha256=_marked(folder, archive)))
        elif archive.access == "registration" and not file.is_file():
            gated.append(archive)
        else:
            done.append(_fetch(archive, folder, keep=keep, progress=progress))
    needed = [archive for archive in gated if archive.needed]
    if needed:
        raise DatasetError(_how_to_register(name, folder, needed))
    return done + [Fetched(archive=a, state=f"not needed here; {_register_at(a)}", sha256="") for a in gated]


def _fetch(archive: Archive, folder: Path, *, keep: bool, progress: Progress) -> Fetched:
    file = download(
        archive.urls,
        folder / ARCHIVES / archive.file,
        sha256=archive.sha256,
        md5=archive.md5,
        size=archive.bytes,
        progress=progress,
    )
    sha256 = sha256_file(file)
    if not (archive.sha256 or archive.md5):
        progress.say(f"no hash of {archive.file} is published; this one has sha256 {sha256}")
    progress.say(f"unpacking {archive.file}")
    with progress.task(f"unpacking {archive.file}, files", 0) as task:
        n_files = unpack(file, folder / archive.into, inner=archive.inner, done=task.advance)
    marker = {"format": "transferbench.unpacked", "version": 1, "archive": archive.file, "sha256": sha256}
    publish(_marker(folder, archive), (json.dumps(marker, indent=1) + "\n").encode())
    if not keep:
        file.unlink()
    return Fetched(archive=archive, state=f"unpacked {n_files:,} files", sha256=sha256)


def _require_room_for(folder: Path, name: str, archives: Sequence[Archive]) -> None:
    sizes = [archive.bytes or archive.about_bytes or 0 for archive in archives]
    # One archive at a time lies beside what was unpacked.
    require_room(folder, int(_GROWTH * sum(sizes) + max(sizes, default=0)), f"fetching {name}")


def _marker(folder: Path, archive: Archive) -> Path:
    return folder / ARCHIVES / f"{archive.file}.unpacked.json"


def _marked(folder: Path, archive: Archive) -> str:
    try:
        return str(json.loads(_marker(folder, archive).read_bytes())["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _register_at(archive: Archive) -> str:
    return f"register at {archive.page}, put {archive.file} in the folder archives and fetch again"


def _how_to_register(name: str, folder: Path, archives: Sequence[Archive]) -> str:
    lines = [f"    {archive.file} ({archive.holds}): {archive.page}" for archive in archives]
    return "\n".join(
        [
            f"{name}: {len(archives)} archive(s) are given out after a registration only, never downloaded here:",
            *lines,
            f"  Register, put the files into {folder / ARCHIVES}, and run: tb datasets fetch {name}",
            "  They are then checked and unpacked. Data that are unpacked already are used with --data-dir.",
        ]
    )


def check_to_dict(found: Check) -> dict[str, Any]:
    """Return a check as plain JSON values.

    Parameters
    ----------
    found : Check
        Any.

    Returns
    -------
    dict
        What ``--json`` prints.
    """
    return {
        "dataset": found.name,
        "folder": str(found.folder),
        "layout": found.layout,
        "good": found.good,
        "findings": [asdict(finding) for finding in found.findings],
    }


def record_rows(record: DatasetRecord, published: Mapping[str, PublishedRow], folder: Path) -> list[list[str]]:
    """Tell a record in rows of a name and a value.

    Parameters
    ----------
    record : DatasetRecord
        Any.
    published : mapping of str to PublishedRow
        What others reached.
    folder : Path
        Where the record stands.

    Returns
    -------
    list of list of str
        For a table of two columns.
    """
    rows = [
        ["title", record.title],
        ["task", f"{record.task.replace('_', ' ')}, {len(record.classes)} classes"],
        ["metric", f"{record.metric}{f' ({record.average_precision})' if record.average_precision else ''}"],
    ]
    rows += [[f"part {name}", _part_told(part)] for name, part in record.parts.items()]
    rows += [["counts", record.counts_source], ["protocol", record.protocol.sentence()]]
    rows += [[f"archive {a.file}", _archive_told(a)] for a in record.archives]
    rows += [["source", record.source], ["licence", record.licence], ["citation", record.citation]]
    rows += [[f"published {key}", f"{100 * row.value:.1f} ({row.source})"] for key, row in published.items()]
    return [*rows, ["record", str(folder)]]


def _part_told(part: Part) -> str:
    counts = [f"{n:,} {what}" for n, what in ((part.images, "images"), (part.people, "people")) if n is not None]
    told = ", ".join(counts) or "number of images not published"
    return f"{told}{'' if part.verified else ' (not verified)'}, {part.use}"


def _archive_told(archive: Archive) -> str:
    where = " or ".join(archive.urls) if archive.urls else f"after registration at {archive.page}"
    digest = f"sha256 {archive.sha256}" if archive.sha256 else f"md5 {archive.md5}" if archive.md5 else "no hash known"
    return f"{archive.holds}; {digest}; {where}"
