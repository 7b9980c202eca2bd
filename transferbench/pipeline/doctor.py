"""`tb datasets check`: a folder beside its record, everything that is wrong at once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transferbench import builtin
from transferbench.data import open_dataset, packed_in, survey
from transferbench.data.check import check_images
from transferbench.data.pack.layout import Pack, is_pack
from transferbench.data.pack.reading import check_pack
from transferbench.data.record import is_own, load_record, record_folder
from transferbench.data.splits import splits_of
from transferbench.data.stated import compare_with_record
from transferbench.data.survey import Finding, Survey
from transferbench.data.trial import first_of_every_class
from transferbench.errors import DatasetError
from transferbench.home import Home
from transferbench.pipeline.datasets import DataOptions, place_of
from transferbench.progress import Progress
from transferbench.types.split import Split

_STRAYS = 20


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
        Where to look, and how many images of every class to open.
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
    if is_pack(pack := packed_in(name, place)):
        return _check_pack(name, pack, progress)
    found = survey(name, place)
    findings = [*_record_told(name), *found.findings, *compare_with_record(found)]
    if found.layout:
        try:
            findings += _splits_told(_splits_of(found, findings))
        except DatasetError as problem:
            findings.append(Finding("wrong", f"no splits can be made: {problem}"))
        looked_at = found if options.limit is None else _some(found, options.limit)
        n_files = len(set(looked_at.files.values()))
        if looked_at is not found:
            everything = len(set(found.files.values()))
            what = f"TRIAL: only {n_files:,} of {everything:,} image files were opened (--limit {options.limit})"
            findings.append(Finding("info", what))
        with progress.task(f"opening images of {name}", n_files) as task:
            findings += check_images(looked_at, deep=deep, done=task.advance)
    return Check(name=name, folder=pack, layout=found.layout, findings=_problems_first(_few_strays(findings)))


def _check_pack(name: str, folder: Path, progress: Progress) -> Check:
    shards = len(Pack.read(folder).shards)
    findings = []
    with progress.task(f"hashing the shards of {name}", shards) as task:
        for finding in check_pack(folder):
            findings.append(finding)
            task.advance()
    return Check(name=name, folder=folder, layout=f"a pack at {folder}", findings=_problems_first(findings))


def _problems_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    order = ("missing", "corrupt", "wrong", "stray", "info", "ok")
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


def _few_strays(findings: Sequence[Finding]) -> list[Finding]:
    """Name the first stray files and count the others: beside images there may be one annotation each."""
    strays = [finding for finding in findings if finding.severity == "stray"]
    more = set(map(id, strays[_STRAYS:]))
    kept = [finding for finding in findings if id(finding) not in more]
    return [*kept, Finding("stray", f"{len(more):,} more like these; not used")] if more else kept


def _some(found: Survey, limit: int) -> Survey:
    """Keep the image files of a trial; lists and labels stay whole."""
    kept = {i for ids in found.parts.values() for i in first_of_every_class(found.labels, ids, limit)}
    return replace(found, files={i: file for i, file in found.files.items() if i in kept})


def _splits_of(found: Survey, findings: Sequence[Finding]) -> tuple[Split, ...]:
    if found.record.protocol.kind == "pretraining" or any(finding.is_problem for finding in findings):
        return ()  # splits of a damaged dataset are other splits; that it is damaged is told already
    return splits_of(found.record, found.labels, found.parts)


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
