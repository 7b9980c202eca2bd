"""A Gram matrix on disk: its lower half row after row, and a manifest that is published last and holds the hash."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from transferbench.evaluation.svm.operators import Matrix
from transferbench.files import publish, publish_file, temporary_beside

_WAITING = 2


class DamagedGramError(Exception):
    """A stored matrix is not what its manifest says; it is gone now, and what was added of it is wrong."""


@dataclass(frozen=True, slots=True)
class StoredGram:
    """A matrix on disk.

    Parameters
    ----------
    manifest : Path
        Beside it lies the matrix.
    n : int
        Images.
    sources : tuple of str
        What it was made of, for a person.
    n_bytes : int
        On disk.
    """

    manifest: Path
    n: int
    sources: tuple[str, ...]
    n_bytes: int

    @property
    def matrix(self) -> Path:
        """The lower half."""
        return self.manifest.with_suffix(".gram")

    def problem(self) -> str | None:
        """Read the whole matrix.

        Returns
        -------
        str or None
            What is wrong; None if all is well.
        """
        try:
            for _ in rows_of(self.manifest):
                pass
        except DamagedGramError as problem:
            return str(problem)
        return None

    def last_used(self) -> float:
        """Tell when it was made or added the last time.

        Returns
        -------
        float
            In seconds since 1970; 0 if it is gone.
        """
        try:
            return self.manifest.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def remove(self) -> None:
        """Delete it: the manifest first, so that nobody takes half of it for the whole."""
        self.manifest.unlink(missing_ok=True)
        self.matrix.unlink(missing_ok=True)


class GramWriter:
    """Writes a matrix block by block beside the work of making it: the disk and the hash take as long as a product.

    Parameters
    ----------
    path : Path
        Where the matrix is to appear; its manifest has the suffix ``.json``.
    about : dict
        What the manifest says besides number of bytes and hash.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path = path
        self._about = about
        self._temporary = temporary_beside(path)
        self._file: BinaryIO = self._temporary.open("xb")
        self._digest = hashlib.sha256()
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="gram")
        self._waiting: list[Future[None]] = []
        self._n_rows = 0

    def add(self, block: Matrix) -> None:
        """Write the next rows, soon.

        Parameters
        ----------
        block : ndarray of shape (m, at least first + m)
            Rows `first` to `first` + m of the matrix, of which the columns up to the diagonal are written. Not to be
            changed any more.
        """
        while len(self._waiting) >= _WAITING:
            self._waiting.pop(0).result()
        self._waiting.append(self._beside.submit(self._write, block, self._n_rows))
        self._n_rows += len(block)

    def finish(self) -> None:
        """Publish the matrix and then its manifest, soon."""
        self._waiting.append(self._beside.submit(self._publish))

    def wait(self) -> None:
        """Wait for everything that is to be done soon.

        Raises
        ------
        OSError, StorageError
            If the disk does not take it; nothing is left behind.
        """
        try:
            while self._waiting:
                self._waiting.pop(0).result()
        except BaseException:
            self.abandon()
            raise
        self._beside.shutdown()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._beside.shutdown(cancel_futures=True)
        self._waiting.clear()
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _write(self, block: Matrix, first: int) -> None:
        for row, values in enumerate(block, start=first + 1):
            data = values[:row].data
            self._digest.update(data)
            self._file.write(data)

    def _publish(self) -> None:
        n_bytes = self._file.tell()
        self._file.close()
        publish_file(self._temporary, self._path)
        about = {**self._about, "bytes": n_bytes, "sha256": self._digest.hexdigest()}
        publish(self._path.with_suffix(".json"), json.dumps(about, indent=1).encode())


def stored_grams(folder: Path) -> list[StoredGram]:
    """List the matrices in a folder.

    Parameters
    ----------
    folder : Path
        Of a `GramStore`; it need not exist.

    Returns
    -------
    list of StoredGram
        By name. One whose manifest cannot be read has no images; one that is deleted meanwhile is not there.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            about = json.loads(path.read_bytes())
            gram = StoredGram(path, int(about["n"]), tuple(about["sources"]), int(about["bytes"]))
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError, OSError):
            gram = StoredGram(path, 0, (), 0)
        found.append(gram)
    return found


def rows_of(manifest: Path) -> Iterator[Matrix]:
    """Read the lower half, row by row; the hash is checked at the end.

    Parameters
    ----------
    manifest : Path
        Of the matrix.

    Yields
    ------
    ndarray of shape (row + 1,)
        The row up to the diagonal.

    Raises
    ------
    DamagedGramError
        If it is not what the manifest says; what was read before is wrong, too.
    """
    path = manifest.with_suffix(".gram")
    try:
        about: dict[str, Any] = json.loads(manifest.read_bytes())
        n, dtype = int(about["n"]), np.dtype(str(about["dtype"]))
        digest = hashlib.sha256()
        with path.open("rb") as file:
            for row in range(n):
                data = file.read(dtype.itemsize * (row + 1))
                if len(data) < dtype.itemsize * (row + 1):
                    msg = "it ends too early"
                    raise ValueError(msg)
                digest.update(data)
                yield np.frombuffer(data, dtype)
            whole = not file.read(1) and digest.hexdigest() == about["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        msg = f"{manifest}: the stored Gram matrix cannot be read ({problem})"
        raise DamagedGramError(msg) from problem
    if not whole:
        msg = f"{path}: the stored Gram matrix is not what its manifest says"
        raise DamagedGramError(msg)
