"""HDF5 files of ids and descriptors that anybody may have made: nothing in them is trusted."""

import io
import json
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from transferbench.errors import CacheError
from transferbench.types.arrays import Float32

MEMBERS = frozenset({"ids", "descriptors"})


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
    places : dict of str to int
        Where ids and descriptors begin in the file; empty where they do not lie in one piece.
    """

    attributes: dict[str, Any]
    ids: tuple[str, ...]
    array: Float32
    skipped: dict[str, str]
    places: dict[str, int]


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
            where_they_lie = places(file)
    except (OSError, RuntimeError, KeyError, ValueError, UnicodeDecodeError) as problem:
        msg = f"{where}: is damaged or no file of descriptors: {problem}"
        raise CacheError(msg) from problem
    if both := skipped.keys() & set(ids):
        msg = f"{where}: {min(both)!r} has a row and is listed as skipped"
        raise CacheError(msg)
    return PlainFile(attributes, ids, array, skipped, where_they_lie)


def _skipped(attributes: dict[str, Any], where: str) -> dict[str, str]:
    stated = attributes.get("skipped", "{}")
    found = json.loads(stated) if isinstance(stated, str) else None
    if not isinstance(found, dict) or not all(isinstance(reason, str) for reason in found.values()):
        msg = f"{where}: its list of skipped images cannot be read"
        raise CacheError(msg)
    return found


def places(file: h5py.File) -> dict[str, int]:
    """Tell where ids and descriptors begin in a file.

    Parameters
    ----------
    file : h5py.File
        Open, with both of them in it.

    Returns
    -------
    dict of str to int
        Bytes from the beginning, under the names that manifests have for them; empty where one of them is empty or does
        not lie in one piece.
    """
    found = {f"{name}_at": file[name].id.get_offset() for name in sorted(MEMBERS)}
    return {} if None in found.values() else found


def _members(file: h5py.File, data: bytes, where: str, *, least: int) -> tuple[tuple[str, ...], Float32]:
    """Read the two datasets, refusing links, external or virtual storage and other shapes."""
    if set(file.keys()) != MEMBERS:
        msg = f"{where}: holds {', '.join(sorted(file.keys()))}; exactly {', '.join(sorted(MEMBERS))} are expected"
        raise CacheError(msg)
    for name in MEMBERS:
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
