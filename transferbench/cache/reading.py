"""Reading shards, trusting nothing: one by one, or those of a complete block, whose manifest vouches for every byte."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from transferbench.cache.manifest import REMEDY
from transferbench.cache.parallel import in_order
from transferbench.cache.shard import ROWS_PER_SHARD, Shard, decode, encoded_ids, sha256_of_pieces
from transferbench.errors import CacheError
from transferbench.types.arrays import Float32
from transferbench.types.descriptors import Descriptors

if TYPE_CHECKING:
    from transferbench.cache.block import Block

_Room = Callable[[int, int], Float32]
"""Where rows are to lie: called with their number and length, by several threads."""


def read_shard(block: "Block", index: int, *, data: bytes | None = None, vouched: bool = False) -> Shard:
    """Read a shard and check that it is the one of these rows.

    Parameters
    ----------
    block : Block
        Whose rows they must be.
    index : int
        Which shard.
    data : bytes, optional
        Of its file, if it has been read already.
    vouched : bool, default False
        As for `decode`.

    Returns
    -------
    Shard
        Its ids are those of the block's rows.

    Raises
    ------
    CacheError
        If the file cannot be read, is damaged, or holds other rows.
    """
    path = block.shard_path(index)
    shard = decode(read_bytes(path) if data is None else data, block.spec, index, str(path), vouched=vouched)
    if shard.all_ids != block.rows(index):
        msg = f"{path}: its ids are not rows {index * ROWS_PER_SHARD} and up of this dataset"
        raise CacheError(msg)
    return shard


def read_bytes(path: Path) -> bytes:
    """Read a shard's file.

    Parameters
    ----------
    path : Path
        Of the shard.

    Returns
    -------
    bytes
        All of it, unchecked.

    Raises
    ------
    CacheError
        If the system does not give it.
    """
    try:
        return path.read_bytes()
    except OSError as problem:
        raise _unreadable(path, problem) from problem


def check_hash(path: Path, stated: str, *pieces: bytes | bytearray | memoryview) -> None:
    """Compare a shard's bytes with the manifest.

    Parameters
    ----------
    path : Path
        Of the shard, for the message.
    stated : str
        The manifest's SHA-256.
    *pieces : bytes-like
        The file's content, in order.

    Raises
    ------
    CacheError
        If they differ.
    """
    if (found := sha256_of_pieces(pieces)) != stated:
        msg = (
            f"{path}: is damaged: sha256 {found}, the manifest says {stated}.\n"
            "  Delete that file and run `tb extract` with the same options again; only its rows are computed anew."
        )
        raise CacheError(msg)


class Reading:
    """One reading of a complete block.

    Parameters
    ----------
    block : Block
        Which one.
    manifest : dict
        Of the block, checked.
    """

    def __init__(self, block: "Block", manifest: dict[str, Any]) -> None:
        self._block, self._entries = block, manifest["shards"]
        self._dimensions: int = manifest["dimensions"]
        self._skipped: dict[str, str] = manifest.get("skipped", {})
        self._key = block.spec.key().encode()

    def shards(self) -> Iterator[Shard]:
        """Read shard by shard, several at a time.

        Yields
        ------
        Shard
            In row order.

        Raises
        ------
        CacheError
            The first damaged shard, by name.
        """
        yield from in_order(lambda entry: self._shard(entry, _apart), self._entries)

    def whole(self) -> Descriptors:
        """Read all rows.

        Returns
        -------
        Descriptors
            Rows of shards that are read at the same time go to their places at once.

        Raises
        ------
        CacheError
            The first damaged shard, by name; or if there are no rows.
        """
        ids = tuple(i for i in self._block.ids if i not in self._skipped)
        starts = np.cumsum([0, *(len(self._ids(entry["shard"])) for entry in self._entries)]).tolist()
        together = _Together(len(ids))

        def place(entry: dict[str, Any]) -> None:
            self._shard(entry, partial(together.make, starts[entry["shard"]]))

        for _ in in_order(place, self._entries):
            pass
        if together.array is None:
            msg = f"the block {self._block.folder} has no rows"
            raise CacheError(msg)
        return Descriptors(ids=ids, array=together.array, spec=self._block.spec)

    def _ids(self, index: int) -> tuple[str, ...]:
        return tuple(i for i in self._block.rows(index) if i not in self._skipped)

    def _shard(self, entry: dict[str, Any], room: _Room) -> Shard:
        """Read a shard into its room, checking every byte, and that it holds the rows of this manifest."""
        index, ids = entry["shard"], self._ids(entry["shard"])
        skipped = {i: self._skipped[i] for i in self._block.rows(index) if i in self._skipped}
        path = self._block.shard_path(index)
        try:
            with path.open("rb", buffering=0) as file:
                array = self._directly(file, path, entry, ids, room)
        except OSError as problem:
            raise _unreadable(path, problem) from problem
        if array is None:
            shard = self._through_hdf5(path, entry)
            if shard.ids != ids or (ids and shard.array.shape[1] != self._dimensions):
                raise _other_rows(path)
            array = shard.array
            if ids:
                array = room(*shard.array.shape)
                array[:] = shard.array
        return Shard(index, ids, array, skipped)

    def _directly(
        self, file: FileIO, path: Path, entry: dict[str, Any], ids: tuple[str, ...], room: _Room
    ) -> Float32 | None:
        """Read the rows from where the manifest says they lie; None where it says nothing that can be right.

        HDF5 is not asked: for a file of 4 MB it takes about as long as SHA-256, and one thread at a time.
        """
        stored = encoded_ids(ids).tobytes()
        size, n_bytes = os.fstat(file.fileno()).st_size, 4 * len(ids) * self._dimensions
        ids_at, rows_at = entry.get("ids_at"), entry.get("descriptors_at")
        # A length is trusted, and room made for it, only where the file is as long.
        if not (isinstance(ids_at, int) and isinstance(rows_at, int) and size == entry.get("bytes") and ids):
            return None
        if not 0 <= ids_at <= ids_at + len(stored) <= rows_at <= rows_at + n_bytes <= size:
            return None
        array = room(len(ids), self._dimensions)
        before, after = bytearray(rows_at), bytearray(size - rows_at - n_bytes)
        pieces = memoryview(before), array.reshape(-1).view(np.uint8).data, memoryview(after)
        for piece in pieces:
            _fill(piece, file)
        check_hash(path, entry["sha256"], *pieces)
        if before[ids_at : ids_at + len(stored)] != stored or not (self._key in before or self._key in after):
            raise _other_rows(path)
        return array

    def _through_hdf5(self, path: Path, entry: dict[str, Any]) -> Shard:
        data = read_bytes(path)
        check_hash(path, entry["sha256"], data)
        return read_shard(self._block, entry["shard"], data=data, vouched=True)


def _apart(n_rows: int, dimensions: int) -> Float32:
    """Make room for the rows of one shard alone."""
    return np.empty((n_rows, dimensions), dtype="<f4")


class _Together:
    """Room for the rows of all shards, which come in any order, from several threads."""

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._making = Lock()
        self.array: Float32 | None = None

    def make(self, start: int, n_rows: int, dimensions: int) -> Float32:
        with self._making:  # a shard tells how long rows are
            if self.array is None:
                self.array = _apart(self._n_rows, dimensions)
        return self.array[start : start + n_rows]


def _fill(piece: memoryview, file: FileIO) -> None:
    """Read until there is no more of the piece, or of the file: then the hash tells."""
    while piece and (n_read := file.readinto(piece)):
        piece = piece[n_read:]


def _unreadable(path: Path, problem: OSError) -> CacheError:
    return CacheError(
        f"{path}: cannot be read: {problem.strerror}. Run `tb extract` with the same options again; only its rows are "
        "computed anew."
    )


def _other_rows(path: Path) -> CacheError:
    return CacheError(f"{path}: its images or its spec are not those of the manifest. {REMEDY}")
