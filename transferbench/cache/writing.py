"""Writing a block: shards, each published whole by whoever computed it, and last the manifest that lists them all."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from transferbench.cache.manifest import write_manifest
from transferbench.cache.parallel import in_order
from transferbench.cache.reading import read_bytes, read_shard
from transferbench.cache.shard import Shard, encode, sha256_of_pieces
from transferbench.errors import DatasetError
from transferbench.files import publishing, storing, sweep, sync_folder
from transferbench.types.arrays import Float32
from transferbench.types.descriptors import check_rows
from transferbench.types.identity import sha256_of

if TYPE_CHECKING:
    from transferbench.cache.block import Block

_Identity = tuple[int, int, int]
"""Tells files apart that had the same name one after the other."""


@dataclass(frozen=True, slots=True)
class ListedShard:
    """What the manifest says of a shard, and which file it was said of.

    Parameters
    ----------
    file : tuple of int
        Identity of the file.
    entry : dict
        As it stands in the manifest.
    dimensions : int
        D; 0 where all images of the shard are skipped.
    skipped : mapping of str to str
        Ids without a row, and why.
    """

    file: _Identity
    entry: dict[str, Any]
    dimensions: int
    skipped: Mapping[str, str]


def write_shard(block: "Block", index: int, array: Float32, skipped: Mapping[str, str]) -> ListedShard:
    """Publish one shard.

    Parameters
    ----------
    block : Block
        Whose shard it is.
    index : int
        Which rows.
    array : ndarray of shape (len(rows) - len(skipped), D), float32
        Finite, no zero row.
    skipped : mapping of str to str
        Ids among the shard's that have no row, and why.

    Returns
    -------
    ListedShard
        For the manifest.

    Raises
    ------
    FeatureError
        If a row is zero or not finite; the image is named.
    StorageError
        If the disk does not take it.
    ValueError
        If a skipped id is none of the shard's.
    """
    if strangers := skipped.keys() - set(block.rows(index)):
        msg = f"{min(strangers)!r} is no image of shard {index}"
        raise ValueError(msg)
    ids = tuple(i for i in block.rows(index) if i not in skipped)
    if not ids:  # whoever skips everything never learns how long a row is
        array = np.empty((0, 0), dtype=np.float32)
    check_rows(ids, array, f"{block.spec.net} at {block.spec.short_side_px} px")
    shard = Shard(index, ids, array, dict(skipped))
    with ThreadPoolExecutor(1) as beside:
        # A power failure may take the name again, and the shard is computed anew; `publish_manifest` ends that.
        with publishing(block.shard_path(index), name_at_once=False) as file:
            # The disk has the rows while they are hashed, and works while the file is: each takes about as long.
            encoded = encode(shard, block.spec, file.put_meanwhile)
            file.put(0, encoded.before)
            file.put(encoded.n_bytes - len(encoded.after), encoded.after)
            digest = beside.submit(encoded.sha256)
        return _listed(block, shard, encoded.places, encoded.n_bytes, digest.result())


def publish_manifest(block: "Block", written: Mapping[int, ListedShard], environment: dict[str, str]) -> None:
    """Publish the manifest, now that all shards are there.

    Parameters
    ----------
    block : Block
        Which.
    written : mapping of int to ListedShard
        Shards that need not be read again, as long as their files are the same.
    environment : dict of str to str
        Versions and device that computed the rows.

    Raises
    ------
    CacheError
        If a shard is missing or damaged.
    DatasetError
        If every image was skipped.
    """
    sweep(block.folder)
    listed = list(in_order(partial(_list, block, written), range(block.n_shards)))
    skipped = {i: reason for shard in listed for i, reason in shard.skipped.items()}
    if len(skipped) == len(block.ids):
        msg = f"{block.folder}: none of the {len(block.ids)} images could be decoded; delete the folder"
        raise DatasetError(msg)
    with storing(block.folder, 0):
        sync_folder(block.folder)
    write_manifest(
        block.folder,
        {
            "key": block.spec.key(),
            "spec": block.spec.to_dict(),
            "rows": len(block.ids) - len(skipped),
            "dimensions": max(shard.dimensions for shard in listed),
            "ids_sha256": sha256_of(block.ids),
            "shards": [shard.entry for shard in listed],
            **({"skipped": skipped} if skipped else {}),
            "environment": environment,
        },
    )


def _list(block: "Block", written: Mapping[int, ListedShard], index: int) -> ListedShard:
    """Make what the manifest says of a shard: read it, unless its file is still the one that was written."""
    known = written.get(index)
    if known is not None and known.file == _identity(block, index):
        return known
    data = read_bytes(block.shard_path(index))
    shard = read_shard(block, index, data=data)
    return _listed(block, shard, shard.places, len(data), sha256_of_pieces([data]))


def _listed(block: "Block", shard: Shard, places: Mapping[str, int], n_bytes: int, sha256: str) -> ListedShard:
    entry = {
        "shard": shard.index,
        "file": block.shard_path(shard.index).name,
        "bytes": n_bytes,
        "sha256": sha256,
        **places,
    }
    return ListedShard(_identity(block, shard.index), entry, shard.array.shape[1], shard.skipped)


def _identity(block: "Block", index: int) -> _Identity:
    try:
        found = block.shard_path(index).stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return found.st_ino, found.st_mtime_ns, found.st_size
