"""One shard: up to 256 rows of a block as an HDF5 file.

It is made and read in memory, so that neither a crash nor a full disk can leave half a file.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from transferbench.errors import CacheError
from transferbench.types.arrays import Float32
from transferbench.types.descriptors import DescriptorSpec
from transferbench.types.identity import canonical_json

ENCODING_TYPE = "transferbench.descriptors"
ENCODING_VERSION = "1"
ROWS_PER_SHARD = 256
_MEMBERS = {"ids", "descriptors"}


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
    """

    index: int
    ids: tuple[str, ...]
    array: Float32
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_ids(self) -> tuple[str, ...]:
        """Ids with and without a row, sorted."""
        return tuple(sorted((*self.ids, *self.skipped))) if self.skipped else self.ids


def encode(shard: Shard, spec: DescriptorSpec) -> memoryview:
    """Make the file of a shard.

    Parameters
    ----------
    shard : Shard
        The rows.
    spec : DescriptorSpec
        Of the block.

    Returns
    -------
    memoryview
        The bytes of an HDF5 file, not copied once more; the same for the same rows, spec and HDF5 version.
    """
    array = np.ascontiguousarray(shard.array, dtype="<f4")
    # The file is built in memory: on a full disk HDF5 itself crashes the interpreter, while a plain write raises an
    # error.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110"), track_order=False) as file:
        file.create_dataset("ids", data=encoded_ids(shard.ids))
        file.create_dataset("descriptors", data=array)
        file.attrs.update(
            {
                "encoding-type": ENCODING_TYPE,
                "encoding-version": ENCODING_VERSION,
                "shard": shard.index,
                "spec": canonical_json(spec.to_dict()),
                "spec-key": spec.key(),
                "rows-sha256": _rows_sha256(shard.ids, array, shard.skipped),
                **skipped_attribute(shard.skipped),
            }
        )
    return buffer.getbuffer()


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
    return Shard(index, found.ids, found.array, found.skipped)


@dataclass(frozen=True, slots=True, eq=False)
class PlainFile:
    """What a file of ids and descriptors holds.

    Parameters
    ----------
    attributes : dict
        Of the root group.
    ids : tuple of str
        n image ids.
    array : ndarray of shape (n, D), float32
        As stored; nothing about its values has been checked.
    skipped : dict of str to str
        Ids without a row, and why.
    """

    attributes: dict[str, Any]
    ids: tuple[str, ...]
    array: Float32
    skipped: dict[str, str]


def read_plain(data: bytes, where: str) -> PlainFile:
    """Read an HDF5 file of ids and descriptors that may have been made by anybody.

    Parameters
    ----------
    data : bytes
        Of the file.
    where : str
        The file's path, for messages.

    Returns
    -------
    PlainFile
        Its two datasets and its attributes.

    Raises
    ------
    CacheError
        If the file is damaged, holds anything else, or refers to anything outside itself.
    """
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            attributes = dict(file.attrs)
            skipped = _skipped(attributes, where)
            ids, array = _members(file, data, where, least=0 if skipped else 1)
    except (OSError, RuntimeError, KeyError, ValueError, UnicodeDecodeError) as problem:
        msg = f"{where}: is damaged or no file of descriptors: {problem}"
        raise CacheError(msg) from problem
    if both := skipped.keys() & set(ids):
        msg = f"{where}: {min(both)!r} has a row and is listed as skipped"
        raise CacheError(msg)
    return PlainFile(attributes, ids, array, skipped)


def _skipped(attributes: dict[str, Any], where: str) -> dict[str, str]:
    stated = attributes.get("skipped", "{}")
    found = json.loads(stated) if isinstance(stated, str) else None
    if not isinstance(found, dict) or not all(isinstance(reason, str) for reason in found.values()):
        msg = f"{where}: its list of skipped images cannot be read"
        raise CacheError(msg)
    return found


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


def _members(file: h5py.File, data: bytes, where: str, *, least: int) -> tuple[tuple[str, ...], Float32]:
    """Read the two datasets, refusing links, external or virtual storage and other shapes."""
    if set(file.keys()) != _MEMBERS:
        msg = f"{where}: holds {', '.join(sorted(file.keys()))}; exactly {', '.join(sorted(_MEMBERS))} are expected"
        raise CacheError(msg)
    for name in _MEMBERS:
        if (
            not isinstance(file.get(name, getlink=True), h5py.HardLink)
            or file.get(name, getclass=True) is not h5py.Dataset
        ):
            msg = f"{where}: {name} is not a plain dataset in the file itself"
            raise CacheError(msg)
        if file[name].external or file[name].is_virtual:
            msg = f"{where}: {name} keeps its values outside the file, which is not allowed"
            raise CacheError(msg)
    ids, array = file["ids"], file["descriptors"]
    n_rows = ids.shape[0] if ids.ndim == 1 else -1
    if array.dtype != np.dtype("<f4") or array.ndim != 2 or array.shape[0] != n_rows or n_rows < least:
        msg = f"{where}: ids {ids.shape} and descriptors {array.shape}, {array.dtype}, do not fit together"
        raise CacheError(msg)
    if array.id.get_storage_size() != array.size * array.dtype.itemsize:
        msg = f"{where}: descriptors are declared larger than what is stored"
        raise CacheError(msg)
    return tuple(value.decode() for value in ids[()]), _values(array, data)


def _values(array: h5py.Dataset, data: bytes) -> Float32:
    """Show a dataset's values where they lie in the file's bytes; HDF5 copies those that do not lie in one piece."""
    offset = array.id.get_offset()
    if offset is None or array.size == 0 or offset + 4 * array.size > len(data):
        return array[()]  # type: ignore[no-any-return]
    return np.frombuffer(data, dtype="<f4", count=array.size, offset=offset).reshape(array.shape)


def _rows_sha256(ids: tuple[str, ...], array: Float32, skipped: Mapping[str, str]) -> str:
    digest = hashlib.sha256(canonical_json(ids).encode())
    digest.update(np.ascontiguousarray(array, dtype="<f4").reshape(-1).data)
    if skipped:
        digest.update(canonical_json(dict(skipped)).encode())
    return digest.hexdigest()
