"""Gram matrices of single parts on disk: the next recipe that stacks the same blocks otherwise adds them up again.

They are derived from blocks of descriptors, so any may be deleted at any time; a damaged one is deleted and made again,
and one that the disk does not take is not kept.
"""

import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from transferbench.errors import StorageError
from transferbench.evaluation.aggregate import Part
from transferbench.evaluation.svm.gram_file import DamagedGramError, GramWriter, StoredGram, rows_of, stored_grams
from transferbench.evaluation.svm.operators import Matrix
from transferbench.files import sweep
from transferbench.types.identity import sha256_of

GRAM_VERSION = 1
"""Raised when a change of code changes a matrix."""
WORTH_OPERATIONS = 3e11
"""Operations below which a matrix is made as fast as it is read."""
_PART_OF_DISK = 0.25


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
        self._writing: list[GramWriter] = []

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
        key = _key(part, ids, half.dtype)
        manifest = self._folder / f"{key}.json"
        if key is None or not manifest.is_file():
            return False
        try:
            for row, values in enumerate(rows_of(manifest)):
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
            Whether `keeping` is worth its while.
        """
        return n * n * dimensions >= self._worth and all(source.key for source in part.sources)

    @contextmanager
    def keeping(self, part: Part, ids: Sequence[str], dtype: np.dtype[Any]) -> Iterator[Callable[[Matrix], None]]:
        """Open the way of a part's matrix to the disk, if there is room. It goes on by itself: see `settle`.

        Parameters
        ----------
        part : Part
            Whose.
        ids : sequence of str
            The n images, in the order of rows and columns.
        dtype : dtype
            Of the matrix.

        Yields
        ------
        callable
            To be given the matrix in blocks of consecutive rows, n in all; they are not to be changed any more.
        """
        writer = self._writer(part, ids, dtype)
        if writer is None:
            yield lambda _: None
            return
        try:
            yield writer.add
        except BaseException:
            writer.abandon()
            raise
        writer.finish()
        self._writing.append(writer)

    def settle(self) -> None:
        """Wait until everything kept is on the disk. What the disk does not take is told of, and not kept."""
        while self._writing:
            with self._told():
                self._writing.pop(0).wait()

    def _writer(self, part: Part, ids: Sequence[str], dtype: np.dtype[Any]) -> GramWriter | None:
        n, key = len(ids), _key(part, ids, dtype)
        if key is None:
            return None
        self.settle()
        about = {"version": GRAM_VERSION, "n": n, "dtype": dtype.name, "sources": [s.name for s in part.sources]}
        with self._told():
            if self._make_room(dtype.itemsize * n * (n + 1) // 2):
                return GramWriter(self._folder / f"{key}.gram", about)
        return None

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, StorageError) as problem:
            msg = f"{self._folder}: a Gram matrix is not kept for other recipes: {problem}"
            warnings.warn(msg, RuntimeWarning, stacklevel=4)

    def _make_room(self, n_bytes: int) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        sweep(self._folder)
        stored = sorted(stored_grams(self._folder), key=StoredGram.last_used)
        used = sum(gram.n_bytes for gram in stored)
        limit = _PART_OF_DISK * (shutil.disk_usage(self._folder).free + used)
        while stored and used + n_bytes > limit:
            oldest = stored.pop(0)
            oldest.remove()
            used -= oldest.n_bytes
        return used + n_bytes <= limit


def _key(part: Part, ids: Sequence[str], dtype: np.dtype[Any]) -> str | None:
    """Hash everything that decides a part's matrix; None if a source does not say what it holds."""
    if not all(source.key for source in part.sources):
        return None
    combine = None if part.combine is None else part.combine.__name__
    sources = [[source.key, list(source.ids)] for source in part.sources]
    return sha256_of([GRAM_VERSION, sources, combine, part.unit, list(ids), dtype.name])
