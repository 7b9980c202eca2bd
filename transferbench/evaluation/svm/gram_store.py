"""Gram matrices of single parts on disk: the next recipe that stacks the same blocks otherwise adds them up again.

A matrix is two files: its lower half row after row, and a manifest that is published last and holds the hash. It is
derived from blocks of descriptors, so it may be deleted at any time; a damaged one is deleted and made again.
"""

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferbench.evaluation.aggregate import Part
from transferbench.evaluation.svm.operators import Matrix
from transferbench.files import publish, publish_file, sweep
from transferbench.types.identity import sha256_of

GRAM_VERSION = 1
"""Raised when a change of code changes a matrix."""
WORTH_OPERATIONS = 3e11
"""Operations below which a matrix is made as fast as it is read."""
_PART_OF_DISK = 0.25


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
            for _ in _rows(self.manifest):
                pass
        except DamagedGramError as problem:
            return str(problem)
        return None

    def remove(self) -> None:
        """Delete it: the manifest first, so that nobody takes half of it for the whole."""
        self.manifest.unlink(missing_ok=True)
        self.matrix.unlink(missing_ok=True)


class GramStore:
    """A folder of matrices, as large as a quarter of the disk's free space; the longest unused make room for new ones.

    Parameters
    ----------
    folder : Path
        Made on first use.
    worth : float
        Operations that a matrix must have cost to be kept.
    """

    def __init__(self, folder: Path, *, worth: float = WORTH_OPERATIONS) -> None:
        self._folder = folder
        self._worth = worth

    def add_to(self, half: Matrix, part: Part, ids: Sequence[str]) -> bool:
        """Add a part's matrix if it is there.

        Parameters
        ----------
        half : ndarray of shape (n, n)
            By columns: its upper half is the matrix's lower one.
        part : Part
            Whose.
        ids : sequence of str
            The n images, in the order of rows and columns.

        Returns
        -------
        bool
            Whether it was there.

        Raises
        ------
        DamagedGramError
            If it was damaged; then `half` is of no use any more.
        """
        key = _key(part, ids, half)
        manifest = self._folder / f"{key}.json"
        if key is None or not manifest.is_file():
            return False
        try:
            for row, values in enumerate(_rows(manifest)):
                half[: row + 1, row] += values
            manifest.touch()
        except DamagedGramError as problem:
            warnings.warn(f"{problem}: it is made again", RuntimeWarning, stacklevel=3)
            StoredGram(manifest, len(ids), (), 0).remove()
            raise
        return True

    def would_keep(self, n: int, dimensions: int, part: Part) -> bool:
        """Tell whether a matrix costs enough, and its origin is known.

        Parameters
        ----------
        n : int
            Images.
        dimensions : int
            Of the part.
        part : Part
            Whose.

        Returns
        -------
        bool
            Whether `keep` is worth calling.
        """
        return n * n * dimensions >= self._worth and all(source.key for source in part.sources)

    def keep(self, half: Matrix, part: Part, ids: Sequence[str]) -> None:
        """Write a part's matrix, if there is room.

        Parameters
        ----------
        half : ndarray of shape (n, n)
            As for `add_to`.
        part : Part
            Whose.
        ids : sequence of str
            The images.
        """
        n = len(ids)
        key = _key(part, ids, half)
        n_bytes = half.itemsize * n * (n + 1) // 2
        if key is None or not self._make_room(n_bytes):
            return
        path = self._folder / f"{key}.gram"
        temporary = self._folder / f".{key}.{id(half):x}.tmp"
        digest = hashlib.sha256()
        try:
            with temporary.open("xb") as file:
                for row in range(n):
                    values = np.ascontiguousarray(half[: row + 1, row]).data
                    digest.update(values)
                    file.write(values)
            publish_file(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        about = {
            "version": GRAM_VERSION,
            "n": n,
            "dtype": half.dtype.name,
            "bytes": n_bytes,
            "sha256": digest.hexdigest(),
            "sources": [source.name for source in part.sources],
        }
        publish(path.with_suffix(".json"), json.dumps(about, indent=1).encode())

    def _make_room(self, n_bytes: int) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        sweep(self._folder)
        stored = sorted(stored_grams(self._folder), key=lambda gram: gram.manifest.stat().st_mtime)
        used = sum(gram.n_bytes for gram in stored)
        limit = _PART_OF_DISK * (shutil.disk_usage(self._folder).free + used)
        while stored and used + n_bytes > limit:
            oldest = stored.pop(0)
            oldest.remove()
            used -= oldest.n_bytes
        return used + n_bytes <= limit


def stored_grams(folder: Path) -> list[StoredGram]:
    """List the matrices in a folder.

    Parameters
    ----------
    folder : Path
        Of a `GramStore`; it need not exist.

    Returns
    -------
    list of StoredGram
        By name. One whose manifest cannot be read has no images.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            about = json.loads(path.read_bytes())
            gram = StoredGram(path, int(about["n"]), tuple(about["sources"]), int(about["bytes"]))
        except (ValueError, KeyError, TypeError, OSError):
            gram = StoredGram(path, 0, (), path.stat().st_size)
        found.append(gram)
    return found


def _key(part: Part, ids: Sequence[str], half: Matrix) -> str | None:
    """Hash everything that decides a part's matrix; None if a source does not say what it holds."""
    if not all(source.key for source in part.sources):
        return None
    combine = None if part.combine is None else part.combine.__name__
    sources = [[source.key, list(source.ids)] for source in part.sources]
    return sha256_of([GRAM_VERSION, sources, combine, part.unit, list(ids), half.dtype.name])


def _rows(manifest: Path) -> Iterator[Matrix]:
    """Read the lower half, row by row; the hash is checked at the end."""
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
