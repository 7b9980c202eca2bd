"""One shard: up to 256 rows of a block as an HDF5 file.

It is made and read in memory, so that neither a crash nor a full disk can leave half a file.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from transferbench.cache.plain import places, read_plain
from transferbench.cache.unmoved import UnmovedArrayFile
from transferbench.errors import CacheError
from transferbench.types.arrays import Float32
from transferbench.types.descriptors import DescriptorSpec
from transferbench.types.identity import canonical_json

ENCODING_TYPE = "transferbench.descriptors"
ENCODING_VERSION = "1"
ROWS_PER_SHARD = 256


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Rows of a block.

    Parameters
    ----------
    index : int
        Holds rows 256 * index and up.
    ids : tuple of str
        n image ids.
    array : ndarray of shape (n, D), float32
        Their descriptors.
    skipped : dict of str to str
        Further ids of the shard, whose images could not be decoded, and why. They have no row.
    places : dict of str to int
        Where in the file it was read from ids and rows begin, under the manifest's names for that; empty where they do
        not lie in one piece.
    """

    index: int
    ids: tuple[str, ...]
    array: Float32
    skipped: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, int] = field(default_factory=dict)

    @property
    def all_ids(self) -> tuple[str, ...]:
        """Ids with and without a row, sorted."""
        return tuple(sorted((*self.ids, *self.skipped))) if self.skipped else self.ids


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The file of a shard.

    Parameters
    ----------
    before, rows, after : memoryview
        One after the other they are the file.
    places : dict of str to int
        As in `Shard`.
    """

    before: memoryview
    rows: memoryview
    after: memoryview
    places: Mapping[str, int]

    @property
    def pieces(self) -> tuple[memoryview, memoryview, memoryview]:
        """The file, in order."""
        return self.before, self.rows, self.after

    @property
    def n_bytes(self) -> int:
        """The file's length."""
        return sum(map(len, self.pieces))

    def sha256(self) -> str:
        """Hash the file.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        return sha256_of_pieces(self.pieces)


def encode(
    shard: Shard, spec: DescriptorSpec, placed: Callable[[int, memoryview], None] = lambda _at, _rows: None
) -> Encoded:
    """Make the file of a shard.

    Parameters
    ----------
    shard : Shard
        The rows; they must not change while what is returned is in use.
    spec : DescriptorSpec
        Of the block.
    placed : callable, optional
        Told where the rows begin and what their bytes are while they are still being hashed; not told of rows that HDF5
        has to copy.

    Returns
    -------
    Encoded
        The bytes of an HDF5 file, the rows as they lie in the shard; the same for the same rows, spec and HDF5 version.
    """
    array = np.ascontiguousarray(shard.array, dtype="<f4")
    # The file is built in memory: on a full disk HDF5 itself crashes the interpreter, while a plain write raises an
    # error.
    image = UnmovedArrayFile(array, placed)
    with ThreadPoolExecutor(1) as beside:  # hashing takes longer than all the rest
        hashed = beside.submit(_rows_sha256, shard.ids, array, shard.skipped)
        with h5py.File(image, "w", libver=("v110", "v110"), track_order=False) as file:
            file.create_dataset("ids", data=encoded_ids(shard.ids))
            file.create_dataset("descriptors", data=array)
            file.attrs.update(
                {
                    "encoding-type": ENCODING_TYPE,
                    "encoding-version": ENCODING_VERSION,
                    "shard": shard.index,
                    "spec": canonical_json(spec.to_dict()),
                    "spec-key": spec.key(),
                    "rows-sha256": hashed.result(),
                    **skipped_attribute(shard.skipped),
                }
            )
            where_they_lie = places(file)
    return Encoded(*image.pieces(), where_they_lie)


def sha256_of_pieces(pieces: Iterable[bytes | bytearray | memoryview]) -> str:
    """Hash bytes that lie in several places.

    Parameters
    ----------
    pieces : iterable of bytes-like
        In order.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def encoded_ids(ids: Sequence[str]) -> NDArray[np.bytes_]:
    """Make fixed-length UTF-8 of ids, as they are stored.

    Parameters
    ----------
    ids : sequence of str
        n ids; there may be none.

    Returns
    -------
    ndarray of shape (n,)
        As h5py takes it.
    """
    encoded = [i.encode() for i in ids]
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", length=max(map(len, encoded), default=1)))


def skipped_attribute(skipped: Mapping[str, str]) -> dict[str, str]:
    """Make the attribute that lists skipped images; none where there are none.

    Parameters
    ----------
    skipped : mapping of str to str
        Id and reason.

    Returns
    -------
    dict of str to str
        At most one attribute, its value canonical JSON.
    """
    return {"skipped": canonical_json(dict(skipped))} if skipped else {}


def decode(data: bytes, spec: DescriptorSpec, index: int, where: str, *, vouched: bool = False) -> Shard:
    """Read the file of a shard, trusting nothing in it.

    Parameters
    ----------
    data : bytes
        Of the file.
    spec : DescriptorSpec
        Which block it must belong to.
    index : int
        Which shard it must be.
    where : str
        The file's path, for messages.
    vouched : bool, default False
        Whether every byte has been compared with a manifest already, so that the hash of the rows need not be.

    Returns
    -------
    Shard
        Rows whose own hash has been checked, or that of their file.

    Raises
    ------
    CacheError
        If the file is damaged, of another format, of another block, or refers to anything outside itself.
    """
    found = read_plain(data, where)
    _check_attributes(found.attributes, spec, index, where)
    if len(found.ids) > ROWS_PER_SHARD:
        msg = f"{where}: holds {len(found.ids)} rows; a shard has at most {ROWS_PER_SHARD}"
        raise CacheError(msg)
    if not vouched and _rows_sha256(found.ids, found.array, found.skipped) != found.attributes.get("rows-sha256"):
        msg = f"{where}: its rows have changed since they were written"
        raise CacheError(msg)
    return Shard(index, found.ids, found.array, found.skipped, found.places)


def _check_attributes(found: dict[str, Any], spec: DescriptorSpec, index: int, where: str) -> None:
    expected = {
        "encoding-type": ENCODING_TYPE,
        "encoding-version": ENCODING_VERSION,
        "spec-key": spec.key(),
        "shard": index,
    }
    for name, value in expected.items():
        if found.get(name) != value:
            msg = f"{where}: attribute {name} is {found.get(name)}, expected {value}"
            raise CacheError(msg)


def _rows_sha256(ids: tuple[str, ...], array: Float32, skipped: Mapping[str, str]) -> str:
    digest = hashlib.sha256(canonical_json(ids).encode())
    digest.update(np.ascontiguousarray(array, dtype="<f4").reshape(-1).data)
    if skipped:
        digest.update(canonical_json(dict(skipped)).encode())
    return digest.hexdigest()
