"""Stored blocks read as a whole, every byte held against its hash: what is wrong with them, or all their rows."""

from collections.abc import Callable
from typing import Any

import numpy as np

from transferbench.cache.manifest import REMEDY, read_manifest
from transferbench.cache.reading import check_hash, read_bytes
from transferbench.cache.shard import Shard, decode
from transferbench.cache.store import StoredBlock, spec_of
from transferbench.errors import CacheError
from transferbench.types.descriptors import Descriptors, DescriptorSpec
from transferbench.types.identity import sha256_of


def verify(block: StoredBlock) -> list[str]:
    """Read a block as a whole and check every byte against its hash.

    Parameters
    ----------
    block : StoredBlock
        As listed.

    Returns
    -------
    list of str
        What is wrong; empty when all is right. An unfinished block is not wrong: nothing reads it.
    """
    return [] if block.state == "unfinished" else _read(block, lambda _shard: None)


def load(block: StoredBlock) -> Descriptors:
    """Read a complete block by what its manifest says of itself.

    Parameters
    ----------
    block : StoredBlock
        As listed.

    Returns
    -------
    Descriptors
        All rows.

    Raises
    ------
    CacheError
        With everything that `verify` finds.
    """
    if block.state == "unfinished":
        msg = f"{block.folder}: is not finished; run `tb extract` with the same options again"
        raise CacheError(msg)
    shards: list[Shard] = []
    if problems := _read(block, shards.append):
        raise CacheError("\n".join(problems))
    filled = [shard for shard in shards if shard.ids]
    ids = tuple(i for shard in filled for i in shard.ids)
    return Descriptors(ids=ids, array=np.concatenate([shard.array for shard in filled]), spec=spec_of(block))


def _read(block: StoredBlock, take: Callable[[Shard], None]) -> list[str]:
    """Read every shard once, checking every byte; hand on the good ones, return what is wrong."""
    try:
        manifest, spec = _open(block)
    except CacheError as problem:
        return [str(problem)]
    ids: list[str] = []
    skipped: dict[str, str] = {}
    problems = []
    for entry in manifest["shards"]:
        try:
            shard = _shard(block, spec, entry)
        except CacheError as problem:
            problems.append(str(problem))
        else:
            ids += shard.all_ids
            skipped |= shard.skipped
            take(shard)
    if not problems and skipped != manifest.get("skipped", {}):
        problems.append(f"{block.folder}: the images it skips are not those of the manifest")
    if not problems and sha256_of(ids) != manifest["ids_sha256"]:
        problems.append(f"{block.folder}: its ids are not those of the manifest")
    listed = {entry["file"] for entry in manifest["shards"]}
    strays = sorted(path.name for path in block.folder.glob("rows-*.h5") if path.name not in listed)
    return problems + [f"{block.folder / stray}: is not in the manifest; delete it" for stray in strays]


def _open(block: StoredBlock) -> tuple[dict[str, Any], DescriptorSpec]:
    """Read the manifest of a complete block, and check that the folder's name fits it."""
    manifest = read_manifest(block.folder)
    spec = spec_of(block)
    if not spec.key().startswith(block.key_digits) or manifest["key"] != spec.key():
        msg = f"{block.folder}: the folder's name does not fit the spec in it, whose key is {spec.key()[:16]}"
        raise CacheError(msg)
    return manifest, spec


def _shard(block: StoredBlock, spec: DescriptorSpec, entry: dict[str, Any]) -> Shard:
    path = block.folder / f"rows-{entry['shard']:05d}.h5"
    data = read_bytes(path)
    check_hash(path, entry["sha256"], data)
    shard = decode(data, spec, entry["shard"], str(path))
    if any(entry.get(name, place) != place for name, place in shard.places.items()):
        msg = f"{path}: its rows do not lie where the manifest says. {REMEDY}"
        raise CacheError(msg)
    return shard
