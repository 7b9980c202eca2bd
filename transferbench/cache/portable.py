"""One-file copies of blocks: an HDF5 file that any program can read, and the way back, which trusts nothing in it."""

import io
import json
from bisect import bisect_left
from pathlib import Path

import h5py

from transferbench.cache.block import Block
from transferbench.cache.manifest import read_manifest
from transferbench.cache.plain import PlainFile, read_plain
from transferbench.cache.shard import encoded_ids, skipped_attribute
from transferbench.cache.store import StoredBlock
from transferbench.cache.verification import load
from transferbench.errors import CacheError
from transferbench.files import publish
from transferbench.types.arrays import Float32
from transferbench.types.descriptors import DescriptorSpec, check_rows

EXPORT_TYPE = "transferbench.descriptors-export"
EXPORT_VERSION = "1"


def export(block: StoredBlock, target: Path) -> int:
    """Copy a block into one HDF5 file that any program can read.

    Parameters
    ----------
    block : StoredBlock
        Complete.
    target : Path
        The file to write.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    CacheError
        If the block is incomplete or damaged.
    StorageError
        If the file cannot be written.
    """
    found, manifest = load(block), read_manifest(block.folder)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110")) as file:
        file.create_dataset("ids", data=encoded_ids(found.ids))
        file.create_dataset("descriptors", data=found.array)
        file.attrs.update(
            {
                "encoding-type": EXPORT_TYPE,
                "encoding-version": EXPORT_VERSION,
                "spec": json.dumps(found.spec.to_dict(), sort_keys=True),
                "environment": json.dumps(manifest["environment"], sort_keys=True),
                **skipped_attribute(manifest.get("skipped", {})),
            }
        )
    publish(target, buffer.getvalue())
    return buffer.getbuffer().nbytes


def import_file(source: Path, features: Path) -> Block:
    """Take an exported file into the cache.

    Parameters
    ----------
    source : Path
        As `export` wrote it; nothing in it is trusted.
    features : Path
        The cache's root.

    Returns
    -------
    Block
        Complete.

    Raises
    ------
    CacheError
        If the file is damaged, of another format, or refers to anything outside itself.
    FeatureError
        If a row is zero or not finite.
    """
    try:
        data = source.read_bytes()
    except OSError as problem:
        msg = f"{source}: cannot be read: {problem.strerror}"
        raise CacheError(msg) from problem
    found = read_plain(data, str(source))
    stated = (found.attributes.get("encoding-type"), found.attributes.get("encoding-version"))
    if stated != (EXPORT_TYPE, EXPORT_VERSION):
        msg = (
            f"{source}: is {stated[0]} version {stated[1]}; "
            f"`tb cache import` takes {EXPORT_TYPE} version {EXPORT_VERSION}"
        )
        raise CacheError(msg)
    block = Block.of(features, _imported_spec(source, found), tuple(sorted((*found.ids, *found.skipped))))
    check_rows(found.ids, found.array, f"the file {source}")
    for index in block.missing_shards():
        block.write(index, *_rows_of_shard(block, index, found))
    block.finish({**json.loads(found.attributes.get("environment", "{}")), "imported_from": source.name})
    return block


def _rows_of_shard(block: Block, index: int, found: PlainFile) -> tuple[Float32, dict[str, str]]:
    ids = block.rows(index)
    skipped = {i: found.skipped[i] for i in ids if i in found.skipped}
    start = bisect_left(found.ids, ids[0])
    return found.array[start : start + len(ids) - len(skipped)], skipped


def _imported_spec(source: Path, found: PlainFile) -> DescriptorSpec:
    try:
        spec = DescriptorSpec.from_dict(json.loads(found.attributes["spec"]))
    except (KeyError, ValueError, TypeError) as problem:
        msg = f"{source}: its spec is damaged: {problem}"
        raise CacheError(msg) from problem
    if list(found.ids) != sorted(set(found.ids)):
        msg = f"{source}: its ids are not sorted, or one stands twice"
        raise CacheError(msg)
    return spec
