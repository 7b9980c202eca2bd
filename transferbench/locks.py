"""The only right to write in a folder: a lock that dies with its holder, and a file beside it that names the holder."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from transferbench.errors import HeldError
from transferbench.files import alive, storing

_HOLDER = ".lock-holder"


@contextmanager
def writer_lock(folder: Path, what: str, *, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the only right to write in a folder.

    The operating system frees the lock when its holder dies, so a lock cannot go stale on one machine.

    Parameters
    ----------
    folder : Path
        Made if needed; gets a file ``.lock`` that names the holder.
    what : str
        What is being written, for the message.
    timeout_s : float
        How long to wait for another holder.

    Raises
    ------
    HeldError
        If another process holds it; the message names host and process.
    StorageError
        If the folder cannot be written.
    """
    holder = folder / _HOLDER
    lock = FileLock(folder / ".lock", timeout=timeout_s)
    with storing(folder, 0):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as problem:
            who = "another process"
            with suppress(OSError):  # not written yet, or gone with the lock in this moment
                who = holder.read_text(encoding="utf-8") or who
            msg = (
                f"{what} is being written by {who}.\n  Where: {folder}\n"
                "  Wait until it has finished, then run the command again."
            )
            raise HeldError(msg) from problem
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def holder_of(folder: Path) -> str:
    """Say who is writing in a folder, without disturbing it.

    Parameters
    ----------
    folder : Path
        As for `writer_lock`.

    Returns
    -------
    str
        For instance ``process 12 on ada``; empty if nobody is, or the process is gone that said so.
    """
    try:
        said = (folder / _HOLDER).read_text(encoding="utf-8")
    except OSError:
        return ""
    mine = re.fullmatch(rf"process (\d+) on {re.escape(socket.gethostname())}", said)
    return "" if mine and not alive(int(mine[1])) else said
