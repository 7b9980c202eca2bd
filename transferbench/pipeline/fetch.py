"""`tb datasets fetch`: archives → checked → unpacked, each once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transferbench.data.archives import require_room, unpack
from transferbench.data.record import Archive, is_own, load_record
from transferbench.download import download
from transferbench.errors import DatasetError
from transferbench.expected import Expected
from transferbench.files import publish, sha256_file
from transferbench.home import Home
from transferbench.pipeline.datasets import DataOptions, place_of
from transferbench.progress import Progress

ARCHIVES = "archives"
"""Folder, in the dataset's own, in which archives lie until they are unpacked, and what was unpacked is noted."""

_GROWTH = 1.3
"""Photographs do not compress: an archive needs about its own size again, annotations a little more."""


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


def fetch(name: str, home: Home, options: DataOptions, *, keep: bool, again: bool, progress: Progress) -> list[Fetched]:
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
    again : bool
        Whether to fetch and unpack also what was unpacked before.
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
    wanted = [archive for archive in record.archives if again or not _marker(folder, archive).is_file()]
    _require_room_for(folder, name, wanted)
    done = []
    gated = []
    for archive in record.archives:
        file = folder / ARCHIVES / archive.file
        if archive not in wanted:
            done.append(
                Fetched(
                    archive=archive,
                    state="was unpacked before (--again fetches it anew)",
                    sha256=_marked(folder, archive),
                )
            )
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
        Expected(sha256=archive.sha256, md5=archive.md5, size=archive.bytes),
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
