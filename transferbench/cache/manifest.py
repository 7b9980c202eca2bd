"""The manifest: what a complete block holds, hashed as a whole, written last."""

import json
from pathlib import Path
from typing import Any

from transferbench.cache.shard import ENCODING_TYPE, ENCODING_VERSION
from transferbench.errors import CacheError
from transferbench.files import publish
from transferbench.types.identity import sha256_of

MANIFEST = "manifest.json"
REMEDY = "Delete it and run `tb extract` with the same options again; intact shards are kept."


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Publish a manifest.

    Parameters
    ----------
    folder : Path
        Of the block.
    content : dict
        Everything but format, version and hash.

    Raises
    ------
    StorageError
        If the disk does not take it.
    """
    whole = {"format": ENCODING_TYPE, "version": ENCODING_VERSION, **content}
    publish(folder / MANIFEST, (json.dumps({**whole, "sha256": sha256_of(whole)}, indent=1) + "\n").encode())


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a manifest and check its own hash.

    Parameters
    ----------
    folder : Path
        Of the block.

    Returns
    -------
    dict
        Without the hash.

    Raises
    ------
    CacheError
        If it is missing, damaged or of another version.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        stated = manifest.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as problem:
        msg = f"{path}: is damaged: {problem}. {REMEDY}"
        raise CacheError(msg) from problem
    if sha256_of(manifest) != stated:
        msg = f"{path}: has changed since it was written. {REMEDY}"
        raise CacheError(msg)
    if manifest.get("version") != ENCODING_VERSION:
        msg = (
            f"{path}: is of format version {manifest.get('version')}; this program reads version {ENCODING_VERSION}. "
            f"{REMEDY}"
        )
        raise CacheError(msg)
    return manifest
