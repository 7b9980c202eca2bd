"""Files that are never half written: temporary file in the same folder, fsync, rename, fsync of the folder."""

import errno
import hashlib
import os
import re
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from transferbench.errors import StorageError

_CHUNK_BYTES = 1 << 20


class Unpublished:
    """A file without its name yet; `publishing` makes it.

    Parameters
    ----------
    descriptor : int
        Of an open file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._waiting: list[Future[None]] = []
        self.n_bytes = 0
        """How long the file is to become, as far as is known."""

    def put(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes at a place.

        Parameters
        ----------
        at : int
            Where in the file they begin.
        data : bytes-like
            All of them are written.

        Raises
        ------
        OSError
            If the disk does not take them.
        """
        self.n_bytes = max(self.n_bytes, at + len(data))
        self._write(at, data)

    def _write(self, at: int, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            n_written = os.pwrite(self._descriptor, rest, at)
            rest, at = rest[n_written:], at + n_written

    def put_meanwhile(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes at a place in a thread, and let the disk begin at once.

        Parameters
        ----------
        at : int
            Where in the file they begin.
        data : bytes-like
            Must not change until the body of `publishing` has ended; what goes wrong here is raised then.
        """
        self.n_bytes = max(self.n_bytes, at + len(data))
        self._waiting.append(self._beside.submit(self._write_and_push, at, data))

    def _write_and_push(self, at: int, data: bytes | bytearray | memoryview) -> None:
        self._write(at, data)
        with suppress(AttributeError, OSError):  # not every system knows it, and it is but advice
            # Said of pages that are not on the disk yet, Linux starts to write them; the fsync has less to wait for.
            os.posix_fadvise(self._descriptor, at, len(data), os.POSIX_FADV_DONTNEED)

    def settle(self) -> None:
        """Wait for the threads.

        Raises
        ------
        OSError
            If the disk does not take the bytes of `put_meanwhile`.
        """
        self._beside.shutdown()
        for each in self._waiting:
            each.result()


@contextmanager
def publishing(path: Path, *, name_at_once: bool = True) -> Iterator[Unpublished]:
    """Write a file so that readers see the whole of it or none of it.

    Parameters
    ----------
    path : Path
        Where the file is to appear when the body has ended without an error; its folder is made if needed.
    name_at_once : bool, default True
        Whether the file's name, too, must survive a power failure from now on; if not, it does after `sync_folder`.

    Yields
    ------
    Unpublished
        Takes the bytes.

    Raises
    ------
    StorageError
        If the disk is full or the folder cannot be written. Nothing is left behind, and an older file stays as it was.
    """
    temporary = temporary_beside(path)
    n_bytes = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb", buffering=0) as file:
            unpublished = Unpublished(file.fileno())
            try:
                yield unpublished
            finally:  # nobody writes any more when the file is closed, however the body ended
                n_bytes = unpublished.n_bytes
                unpublished.settle()
            os.fsync(file.fileno())
        temporary.replace(path)
        if name_at_once:
            sync_folder(path.parent)
    except OSError as problem:
        raise StorageError(_explain(path, n_bytes, problem)) from problem
    finally:
        with suppress(OSError):  # gone when all went well; not there when the folder could not be made
            temporary.unlink()


def publish(path: Path, data: bytes | memoryview, *, name_at_once: bool = True) -> None:
    """Write a file at one go; readers see the whole of it or none of it.

    Parameters
    ----------
    path : Path
        Where the file is to appear; its folder is made if needed.
    data : bytes or memoryview
        The whole content.
    name_at_once : bool, default True
        As for `publishing`.

    Raises
    ------
    StorageError
        As `publishing`.
    """
    with publishing(path, name_at_once=name_at_once) as file:
        file.put(0, data)


def temporary_beside(path: Path) -> Path:
    """Name a temporary file whose content is to appear under another name in the same folder.

    Parameters
    ----------
    path : Path
        The other name.

    Returns
    -------
    Path
        Nobody else's. It tells which process left it behind, should the machine stop; `sweep` removes it later.
    """
    return path.parent / f".{path.name}.tmp-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power failure.

    Parameters
    ----------
    folder : Path
        Whose files have been renamed.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish_file(temporary: Path, path: Path) -> None:
    """Give a finished file its name, so that readers see the whole of it or none of it.

    Parameters
    ----------
    temporary : Path
        Complete and closed, on the same disk as `path`.
    path : Path
        Where it is to appear.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    with storing(path, temporary.stat().st_size):
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)


@contextmanager
def storing(path: Path, n_bytes: int) -> Iterator[None]:
    """Say clearly why a file cannot be written.

    Parameters
    ----------
    path : Path
        The file, for the message.
    n_bytes : int
        How much room it needs.

    Raises
    ------
    StorageError
        Instead of the `OSError` of the body.
    """
    try:
        yield
    except OSError as problem:
        raise StorageError(_explain(path, n_bytes, problem)) from problem


def sweep(folder: Path) -> int:
    """Remove the temporary files that killed processes of this machine left in a folder.

    Parameters
    ----------
    folder : Path
        Looked at without its subfolders.

    Returns
    -------
    int
        How many were removed. Files of living processes and of other machines stay.
    """
    pattern = re.compile(rf"\..+\.tmp-{re.escape(socket.gethostname())}-(\d+)-[0-9a-f]{{8}}")
    stale = [p for p in folder.glob(".*.tmp-*") if (m := pattern.fullmatch(p.name)) and not alive(int(m[1]))]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def sha256_file(path: Path) -> str:
    """Hash a file.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def alive(pid: int) -> bool:
    """Tell whether a process of this machine is still there.

    Parameters
    ----------
    pid : int
        Its number.

    Returns
    -------
    bool
        True for other people's processes, too.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _explain(path: Path, n_bytes: int, problem: OSError) -> str:
    if problem.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return (
            f"no room to write {n_bytes:,} bytes: {problem.strerror}.\n  Where: {path}\n"
            "  Free some space, or set TB_HOME to a folder on a larger disk; what was finished before is kept."
        )
    return (
        f"cannot write: {problem.strerror or problem}.\n  Where: {path}\n  Check the folder's "
        "permissions, or set TB_HOME to another folder."
    )
