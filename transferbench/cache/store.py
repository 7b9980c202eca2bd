"""All blocks of a work folder: listing, checking, comparing, deleting, and one-file copies."""

import io
import json
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import h5py
import numpy as np

from transferbench.cache.block import Block
from transferbench.cache.manifest import MANIFEST, REMEDY, read_manifest
from transferbench.cache.plain import PlainFile, read_plain
from transferbench.cache.reading import check_hash, read_bytes
from transferbench.cache.shard import Shard, decode, encoded_ids, skipped_attribute
from transferbench.errors import CacheError, UnknownNameError
from transferbench.files import publish
from transferbench.lookup import unknown
from transferbench.types.arrays import Float32
from transferbench.types.descriptors import Descriptors, DescriptorSpec, check_rows
from transferbench.types.identity import sha256_of

EXPORT_TYPE = "transferbench.descriptors-export"
EXPORT_VERSION = "1"
_SHORTEST_KEY = 4


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """What lies in one block's folder.

    Parameters
    ----------
    folder : Path
        Of the block.
    name : str
        The folder, relative to the cache's root.
    spec : DescriptorSpec or None
        None when nothing readable tells it.
    rows : int
        Of a complete block; 0 otherwise.
    dimensions : int
        Of a complete block; 0 otherwise.
    skipped : int
        Images of a complete block that have no row; 0 otherwise.
    n_bytes : int
        All files together.
    state : str
        ``complete``, ``unfinished`` or ``damaged``.
    """

    folder: Path
    name: str
    spec: DescriptorSpec | None
    rows: int
    dimensions: int
    skipped: int
    n_bytes: int
    state: str


def stored_blocks(features: Path) -> list[StoredBlock]:
    """List what the cache holds.

    Parameters
    ----------
    features : Path
        The cache's root.

    Returns
    -------
    list of StoredBlock
        Sorted by name. Contents are not read; `verify` does that.
    """
    folders = {path.parent for pattern in ("rows-*.h5", MANIFEST) for path in features.rglob(pattern)}
    return [_look_at(folder, features) for folder in sorted(folders)]


def find_block(features: Path, name: str) -> StoredBlock:
    """Find a block by its folder, its name in the list, or the beginning of its key.

    Parameters
    ----------
    features : Path
        The cache's root.
    name : str
        A path, a name relative to the root, or at least four digits of the key.

    Returns
    -------
    StoredBlock
        The only one that is meant.

    Raises
    ------
    UnknownNameError
        If no block or several are meant.
    """
    known = stored_blocks(features)
    path = Path(name).absolute()
    found = [
        block
        for block in known
        if block.folder == path
        or block.name == name
        or (len(name) >= _SHORTEST_KEY and _key_of(block).startswith(name))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        msg = f"{name!r} means {len(found)} blocks: {', '.join(block.name for block in found)}. Give more digits."
        raise UnknownNameError(msg)
    raise UnknownNameError(unknown("block", name, [block.name for block in known], listed_by="tb cache list"))


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
    return _whole(block)[0]


def _whole(block: StoredBlock) -> tuple[Descriptors, dict[str, str]]:
    """Read a complete block: its rows, and what was skipped."""
    if block.state == "unfinished":
        msg = f"{block.folder}: is not finished; run `tb extract` with the same options again"
        raise CacheError(msg)
    shards: list[Shard] = []
    if problems := _read(block, shards.append):
        raise CacheError("\n".join(problems))
    filled = [shard for shard in shards if shard.ids]
    ids = tuple(i for shard in filled for i in shard.ids)
    skipped = {i: reason for shard in shards for i, reason in shard.skipped.items()}
    return Descriptors(ids=ids, array=np.concatenate([shard.array for shard in filled]), spec=spec_of(block)), skipped


def spec_of(block: StoredBlock) -> DescriptorSpec:
    """Return the spec of a block, or say why it is not known.

    Parameters
    ----------
    block : StoredBlock
        As listed.

    Returns
    -------
    DescriptorSpec
        Of its manifest, or of its first readable shard.

    Raises
    ------
    CacheError
        If nothing readable tells it.
    """
    if block.spec is None:
        msg = f"{block.folder}: nothing readable says what made it; delete it with `tb cache prune`"
        raise CacheError(msg)
    return block.spec


def differences(a: DescriptorSpec, b: DescriptorSpec) -> list[tuple[str, str, str]]:
    """Compare two specs field by field.

    Parameters
    ----------
    a, b : DescriptorSpec
        Of two blocks.

    Returns
    -------
    list of tuple of str
        Field, value in `a`, value in `b`, for every field that differs.
    """
    left, right = dict(_flat(a.to_dict())), dict(_flat(b.to_dict()))
    return [(name, left[name], right[name]) for name in left if left[name] != right[name]]


def block_differences(a: StoredBlock, b: StoredBlock) -> list[tuple[str, str, str]]:
    """Compare two blocks by their specs and by the images that they skip.

    Parameters
    ----------
    a, b : StoredBlock
        As listed.

    Returns
    -------
    list of tuple of str
        Field, value in `a`, value in `b`, for everything that differs.

    Raises
    ------
    CacheError
        If nothing readable tells what made one of them.
    """
    found = differences(spec_of(a), spec_of(b))
    left, right = (", ".join(sorted(_skipped(block))) or "none" for block in (a, b))
    return found if left == right else [*found, ("skipped images", left, right)]


def _skipped(block: StoredBlock) -> dict[str, str]:
    skipped: dict[str, str] = read_manifest(block.folder).get("skipped", {}) if block.state == "complete" else {}
    return skipped


def remove(block: StoredBlock) -> None:
    """Delete a block.

    Parameters
    ----------
    block : StoredBlock
        As listed.
    """
    # The manifest first: if this is interrupted, what is left is an unfinished block, not a damaged one.
    (block.folder / MANIFEST).unlink(missing_ok=True)
    rmtree(block.folder)


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
    found, skipped = _whole(block)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110")) as file:
        file.create_dataset("ids", data=encoded_ids(found.ids))
        file.create_dataset("descriptors", data=found.array)
        file.attrs.update(
            {
                "encoding-type": EXPORT_TYPE,
                "encoding-version": EXPORT_VERSION,
                "spec": json.dumps(found.spec.to_dict(), sort_keys=True),
                "environment": json.dumps(read_manifest(block.folder)["environment"], sort_keys=True),
                **skipped_attribute(skipped),
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


def _look_at(folder: Path, features: Path) -> StoredBlock:
    n_bytes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    name = folder.relative_to(features).as_posix()
    if not (folder / MANIFEST).is_file():
        return StoredBlock(folder, name, _spec_of_a_shard(folder), 0, 0, 0, n_bytes, "unfinished")
    try:
        manifest = read_manifest(folder)
        spec = DescriptorSpec.from_dict(manifest["spec"])
    except (CacheError, ValueError):
        return StoredBlock(folder, name, None, 0, 0, 0, n_bytes, "damaged")
    whole = all((folder / entry["file"]).is_file() for entry in manifest["shards"])
    state = "complete" if whole else "damaged"
    skipped = len(manifest.get("skipped", {}))
    return StoredBlock(folder, name, spec, manifest["rows"], manifest["dimensions"], skipped, n_bytes, state)


def _spec_of_a_shard(folder: Path) -> DescriptorSpec | None:
    for path in sorted(folder.glob("rows-*.h5")):
        try:
            return DescriptorSpec.from_dict(json.loads(read_plain(path.read_bytes(), str(path)).attributes["spec"]))
        except (CacheError, KeyError, ValueError, TypeError):
            continue
    return None


def _open(block: StoredBlock) -> tuple[dict[str, Any], DescriptorSpec]:
    """Read the manifest of a complete block, and check that the folder's name fits it."""
    manifest = read_manifest(block.folder)
    spec = spec_of(block)
    if not spec.key().startswith(_key_of(block)) or manifest["key"] != spec.key():
        msg = f"{block.folder}: the folder's name does not fit the spec in it, whose key is {spec.key()[:16]}"
        raise CacheError(msg)
    return manifest, spec


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


def _shard(block: StoredBlock, spec: DescriptorSpec, entry: dict[str, Any]) -> Shard:
    path = block.folder / f"rows-{entry['shard']:05d}.h5"
    data = read_bytes(path)
    check_hash(path, entry["sha256"], data)
    shard = decode(data, spec, entry["shard"], str(path))
    if any(entry.get(name, place) != place for name, place in shard.places.items()):
        msg = f"{path}: its rows do not lie where the manifest says. {REMEDY}"
        raise CacheError(msg)
    return shard


def _key_of(block: StoredBlock) -> str:
    return block.folder.name.rpartition("-")[2]


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(inner)
