"""Archives from the network, unpacked as what they are: untrusted. Regular files and folders only, inside the target.

An archive is unpacked beside its place and moved there when all of it has passed; of a refused one nothing stays.
"""

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from transferbench.data.record import InnerArchive
from transferbench.errors import DatasetError
from transferbench.files import storing

_CHUNK_BYTES = 1 << 20
_MOST_GROWTH = 20
_SMALLEST_CAP = 64 << 20
_TAR_BLOCK = 10_240
_JUNK = "__MACOSX"
_DAMAGE = (OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True)
class Limits:
    """How large an archive may become.

    Parameters
    ----------
    total_bytes : int
        Of everything in it, unpacked.
    members : int
        Number of files and folders.
    """

    total_bytes: int
    members: int = 3_000_000

    @classmethod
    def of(cls, archive: Path) -> "Limits":
        """Return the limits for a file: photographs hardly grow, annotations several times.

        Parameters
        ----------
        archive : Path
            An existing file.

        Returns
        -------
        Limits
            Twenty times its size, and 64 MiB at least.
        """
        return cls(max(_MOST_GROWTH * archive.stat().st_size, _SMALLEST_CAP))


@dataclass(slots=True)
class _Unpacking:
    """One archive on its way: what it may still write, and where."""

    archive: Path
    staging: Path
    limits: Limits
    inner: Sequence[InnerArchive]
    done: Callable[[int], None]
    written: int = 0
    members: int = 0
    files: int = 0
    seen: set[str] = field(default_factory=set)

    def refuse(self, member: str, reason: str) -> DatasetError:
        """Say why an archive is refused."""
        return DatasetError(
            f"{self.archive}: refused: {member!r} {reason}.\n  Nothing of it was unpacked. Delete the file and get it "
            "again from the official address (tb datasets show)."
        )

    def destination(self, into: PurePosixPath, name: str) -> Path | None:
        """Return where a member goes; None for what is skipped."""
        self.members += 1
        if self.members > self.limits.members:
            raise self.refuse(name, f"is one of more than {self.limits.members:,} members")
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in (path.parts or ("",))[0]:
            raise self.refuse(name, "leads out of the folder it is unpacked in")
        if not path.parts or _JUNK in path.parts or path.name.startswith("._"):
            return None
        target = into / path
        if str(target) in self.seen:
            raise self.refuse(name, "is in the archive twice")
        return self.staging / target

    def write(self, source: IO[bytes], into: PurePosixPath, name: str, target: Path) -> None:
        """Copy one file, counting every byte that really comes."""
        self.seen.add(str(into / PurePosixPath(name)))
        with storing(target, 0):
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("xb")
        with file:
            while chunk := source.read(_CHUNK_BYTES):
                self.written += len(chunk)
                if self.written > self.limits.total_bytes:
                    raise self.refuse(name, f"goes beyond {self.limits.total_bytes:,} bytes unpacked")
                with storing(target, len(chunk)):
                    file.write(chunk)
        self.files += 1
        self.done(1)


def unpack(
    archive: Path,
    target: Path,
    *,
    inner: Sequence[InnerArchive] = (),
    limits: Limits | None = None,
    done: Callable[[int], None] = lambda _n: None,
) -> int:
    """Unpack a tar, tar.gz or zip file.

    Parameters
    ----------
    archive : Path
        The file.
    target : Path
        Folder in which its members appear; made if needed. Files of the same name are replaced.
    inner : sequence of InnerArchive
        Members that are archives themselves and are unpacked on the way, without being stored.
    limits : Limits, optional
        Those of `Limits.of` when None.
    done : callable
        Told after every file.

    Returns
    -------
    int
        How many files were written.

    Raises
    ------
    DatasetError
        If the file is no such archive, is damaged, or holds a link, a device, an absolute path, a path with ``..``, a
        name twice, or more than the limits allow. Nothing of it is left in `target`.
    StorageError
        If the disk does not take it.
    """
    _require_archive(archive)
    staging = target / f".unpacking-{archive.name}"
    with storing(staging, 0):
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
    work = _Unpacking(archive, staging, limits or Limits.of(archive), inner, done)
    try:
        with archive.open("rb") as file:
            _extract(work, file, archive.name, PurePosixPath())
        with storing(target, 0):
            _move(staging, target)
    except _DAMAGE as problem:
        msg = f"{archive}: is damaged: {problem}.\n  Nothing of it was unpacked. Delete it and get it again."
        raise DatasetError(msg) from problem
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return work.files


def _require_archive(archive: Path) -> None:
    try:
        with archive.open("rb") as file:
            head = file.read(512)
    except OSError as problem:
        msg = f"{archive}: cannot be read: {problem.strerror}"
        raise DatasetError(msg) from problem
    start = head.lstrip()[:15].lower()
    if not head or start.startswith((b"<!doctype", b"<html", b"<?xml")):
        what = "a web page saved under the name of an archive" if head else "empty"
        msg = f"{archive}: is {what}.\n  Delete it and get it again from the official address (tb datasets show)."
        raise DatasetError(msg)


def _extract(work: _Unpacking, file: IO[bytes], name: str, into: PurePosixPath) -> None:
    if name.endswith(".zip"):
        _extract_zip(work, file, into)
    elif name.endswith((".gz", ".tgz")):
        with gzip.open(file) as plain:
            _extract_tar(work, plain, into)  # type: ignore[arg-type]  # reads bytes, which is all that is asked of it
    else:
        _extract_tar(work, file, into)


def _extract_tar(work: _Unpacking, file: IO[bytes], into: PurePosixPath) -> None:
    # As a stream: every byte is seen once, so that a compressed header cannot grow without being counted.
    counted = _Counted(file, work)
    with tarfile.open(fileobj=counted, mode="r|", bufsize=_TAR_BLOCK) as tar:  # type: ignore[call-overload]
        for member in tar:
            tar.members = []  # tarfile keeps every header; a million of them would fill the memory
            target = work.destination(into, member.name)
            if target is None:
                continue
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise work.refuse(member.name, f"is {_tar_kind(member)}, not a regular file")
            source = tar.extractfile(member)
            if source is not None:
                _store(work, source, into, member.name, target)


def _extract_zip(work: _Unpacking, file: IO[bytes], into: PurePosixPath) -> None:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            target = work.destination(into, info.filename)
            if target is None or info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in {0, stat.S_IFREG}:
                raise work.refuse(info.filename, "is a link or a device, not a regular file")
            with archive.open(info) as source:
                _store(work, source, into, info.filename, target)


def _store(work: _Unpacking, source: IO[bytes], into: PurePosixPath, name: str, target: Path) -> None:
    for rule in work.inner:
        if fnmatchcase(name, rule.pattern):
            stem = PurePosixPath(name).name.partition(".")[0]
            _extract(work, source, name, into / rule.into.format(stem=stem))
            return
    work.write(source, into, name, target)


class _Counted:
    """A stream that stops an archive from growing without end before any of it is written."""

    def __init__(self, file: IO[bytes], work: _Unpacking) -> None:
        self._file, self._work, self._read = file, work, 0

    def read(self, size: int = -1) -> bytes:
        """Read; refuse to go on beyond the limit."""
        data = self._file.read(size)
        self._read += len(data)
        # Headers and padding come on top of the files: a kilobyte and a half each at most.
        if self._read > self._work.limits.total_bytes + 1536 * (self._work.members + 1) + _SMALLEST_CAP:
            name = self._work.archive.name
            raise self._work.refuse(name, f"goes beyond {self._work.limits.total_bytes:,} bytes unpacked")
        return data


def _tar_kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return f"a link to {member.linkname!r}"
    return "a sparse file" if member.issparse() else "a device or a pipe"


def _move(staging: Path, target: Path) -> None:
    for path in _files_below(staging):
        place = target / path.relative_to(staging)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)


def _files_below(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files_below(entry)
        else:
            yield entry


def require_room(target: Path, n_bytes: int, what: str) -> None:
    """Check that a disk has room before anything is written to it.

    Parameters
    ----------
    target : Path
        Folder that need not exist yet.
    n_bytes : int
        How much will be written.
    what : str
        For the message.

    Raises
    ------
    DatasetError
        With what is needed and what is free.
    """
    there = next(path for path in (target, *target.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < n_bytes:
        msg = (
            f"{what}: about {n_bytes / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free on the disk of {there}.\n"
            "  Free some space, or give another place with --data-dir or TB_HOME."
        )
        raise DatasetError(msg)
