"""All blocks of a work folder: listed, found by name or key, deleted."""

import json
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from transferbench.cache.manifest import MANIFEST, read_manifest
from transferbench.cache.plain import read_plain
from transferbench.errors import CacheError, UnknownNameError
from transferbench.lookup import unknown
from transferbench.types.descriptors import DescriptorSpec

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

    @property
    def key_digits(self) -> str:
        """Beginning of the key, as the folder's name has it."""
        return self.folder.name.rpartition("-")[2]


def stored_blocks(features: Path) -> list[StoredBlock]:
    """List what the cache holds.

    Parameters
    ----------
    features : Path
        The cache's root.

    Returns
    -------
    list of StoredBlock
        Sorted by name. Contents are not read; `verification` does that.
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
        or (len(name) >= _SHORTEST_KEY and block.key_digits.startswith(name))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        msg = f"{name!r} means {len(found)} blocks: {', '.join(block.name for block in found)}. Give more digits."
        raise UnknownNameError(msg)
    raise UnknownNameError(unknown("block", name, [block.name for block in known], listed_by="tb cache list"))


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
