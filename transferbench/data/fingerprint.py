"""The identity of image files: their contents, hashed once and remembered with size and time of change."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from transferbench.errors import DatasetError
from transferbench.files import publish, sha256_file
from transferbench.types import sha256_of

_FORMAT = "transferbench.fingerprints.1"
_WORKERS = min(8, os.cpu_count() or 1)

Known = dict[str, tuple[int, int, str]]


def fingerprint(ids: Sequence[str], files: Sequence[str], memory: Path | None) -> str:
    """Hash what ordered ids stand for.

    Parameters
    ----------
    ids : sequence of str
        In order.
    files : sequence of str
        File of every id; several ids may share one.
    memory : Path or None
        Folder in which hashes of files are kept; a file of unchanged size and time of change is not read again.

    Returns
    -------
    str
        SHA-256 of ids and contents; paths and times are not in it.

    Raises
    ------
    DatasetError
        If a file cannot be read.
    """
    store = memory / f"{sha256_of(os.path.commonpath([*files]) if files else '')[:16]}.json" if memory else None
    known = _recall(store)
    distinct = sorted(set(files))
    with ThreadPoolExecutor(_WORKERS) as workers:
        found = dict(zip(distinct, workers.map(lambda file: _hashed(file, known), distinct), strict=True))
    if store is not None and any(known.get(file) != entry for file, entry in found.items()):
        content = {"format": _FORMAT, "files": known | found}
        publish(store, json.dumps(content, separators=(",", ":")).encode())
    return sha256_of([[image_id, found[file][2]] for image_id, file in zip(ids, files, strict=True)])


def _hashed(file: str, known: Known) -> tuple[int, int, str]:
    path = Path(file)
    try:
        state = path.stat()
        entry = known.get(file)
        if entry is not None and entry[:2] == (state.st_size, state.st_mtime_ns):
            return entry
        return state.st_size, state.st_mtime_ns, sha256_file(path)
    except OSError as problem:
        msg = f"{path}: cannot be read: {problem.strerror}"
        raise DatasetError(msg) from problem


def _recall(store: Path | None) -> Known:
    """Read what is remembered; a memory that cannot be read is forgotten, for it only saves time."""
    try:
        content = json.loads(store.read_bytes()) if store is not None and store.is_file() else {}
        if content.get("format") != _FORMAT:
            return {}
        return {file: (int(size), int(time), str(sha)) for file, (size, time, sha) in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
