"""The identity of image files: their contents, hashed once and remembered with size and time of change."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from transferbench.data.place import Place
from transferbench.errors import DatasetError
from transferbench.files import publish, sha256_file
from transferbench.types.identity import sha256_of

_FORMAT = "transferbench.fingerprints.1"
_WORKERS = min(8, os.cpu_count() or 1)

Entry = tuple[int, int, str]
Known = dict[str, Entry]


def fingerprint(ids: Sequence[str], files: Sequence[str], place: Place) -> str:
    """Hash what ordered ids stand for.

    Parameters
    ----------
    ids : sequence of str
        In order.
    files : sequence of str
        File of every id; several ids may share one.
    place : Place
        Its memory is the folder in which hashes of files are kept: a file of unchanged size and time of change is not
        read again. Its progress is told of the others.

    Returns
    -------
    str
        SHA-256 of ids and contents; paths and times are not in it.

    Raises
    ------
    DatasetError
        If a file cannot be read.
    """
    root = sha256_of(os.path.commonpath([*files]) if files else "")[:16]
    store = place.memory / f"{root}.json" if place.memory else None
    known = _recall(store)
    distinct = sorted(set(files))
    found = {file: entry for file in distinct if (entry := _unchanged(file, known)) is not None}
    new = [file for file in distinct if file not in found]
    if new:
        what = f"hashing {len(new):,} image files for the first time"
        with place.progress.task(what, len(new)) as task, ThreadPoolExecutor(_WORKERS) as workers:
            for file, entry in zip(new, workers.map(_hashed, new), strict=True):
                found[file] = entry
                task.advance()
    if store is not None and new:
        content = {"format": _FORMAT, "files": known | found}
        publish(store, json.dumps(content, separators=(",", ":")).encode())
    return sha256_of([[image_id, found[file][2]] for image_id, file in zip(ids, files, strict=True)])


def _unchanged(file: str, known: Known) -> Entry | None:
    entry = known.get(file)
    return entry if entry is not None and entry[:2] == _state(file) else None


def _hashed(file: str) -> Entry:
    # Looked at before it is read: what is changed meanwhile has another time by then and is read again next time.
    state = _state(file)
    try:
        return *state, sha256_file(Path(file))
    except OSError as problem:
        raise _unreadable(file, problem) from problem


def _state(file: str) -> tuple[int, int]:
    try:
        state = Path(file).stat()
    except OSError as problem:
        raise _unreadable(file, problem) from problem
    return state.st_size, state.st_mtime_ns


def _unreadable(file: str, problem: OSError) -> DatasetError:
    return DatasetError(f"{file}: cannot be read: {problem.strerror}")


def _recall(store: Path | None) -> Known:
    """Read what is remembered; a memory that cannot be read is forgotten, for it only saves time."""
    try:
        content = json.loads(store.read_bytes()) if store is not None and store.is_file() else {}
        if content.get("format") != _FORMAT:
            return {}
        return {file: (int(size), int(time), str(sha)) for file, (size, time, sha) in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
