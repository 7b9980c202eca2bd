"""What an evaluation that goes on has done so far: files beside the results, removed once the result is there.

A finished split is kept at once. Of the split that is being done, the state of its solver after some value of C is
kept; it may be hundreds of megabytes, so only when what it saves has taken much longer than writing it.
"""

import json
import os
import shutil
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from transferbench.environment import describe, git_commit
from transferbench.evaluation.pieces import Begun, Piece
from transferbench.evaluation.svm.choice import memory_of_machine
from transferbench.files import publish_file, storing, sweep, temporary_beside
from transferbench.types.identity import sha256_of

WORTH = 50.0
"""How many times longer than writing a state the work must have taken that it saves."""
_BYTES_PER_SECOND = 2e8  # taken for the disk's speed until it is measured
_KEPT_DAYS = 30
_FOLDER = ".unfinished"
_ABOUT = "about"


class StoredPieces:
    """The splits of one line of a result; see `evaluation.pieces.Pieces`.

    Parameters
    ----------
    folder : Path
        Of this result, as `folder_of` gave it.
    line : int or "official"
        Of the result; ``"official"`` is the division that a server tests.
    worth : float
        States are kept when they save so many times the time that writing them takes; 0 keeps all.
    """

    def __init__(self, folder: Path, line: int | Literal["official"], *, worth: float = WORTH) -> None:
        self._folder = folder
        self._line = line
        self._worth = worth
        self._speed = _BYTES_PER_SECOND
        self._kept_at = time.monotonic()

    def has(self, split: int) -> bool:
        """Tell whether a finished split is there, damaged or not.

        Parameters
        ----------
        split : int
            Its position.

        Returns
        -------
        bool
            Without reading it.
        """
        return self._path(split).is_file()

    def get(self, split: int) -> Piece | None:
        """Read a finished split.

        Parameters
        ----------
        split : int
            Its position.

        Returns
        -------
        Piece or None
            None if it is not there or is damaged: then it is computed again.
        """
        found = _read(self._path(split))
        self._kept_at = time.monotonic()
        return found and Piece(C=found[0]["C"], validation=_by_C(found[0]), machine=found[1])

    def put(self, split: int, piece: Piece) -> None:
        """Write a finished split, and forget how far it had come before.

        Parameters
        ----------
        split : int
            Its position.
        piece : Piece
            What was found.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        _write(self._path(split), {"C": piece.C, "validation": list(piece.validation.items())}, piece.machine)
        self._path(split, "-begun").unlink(missing_ok=True)

    def get_begun(self, split: int) -> Begun | None:
        """Read how far a split has come.

        Parameters
        ----------
        split : int
            Its position.

        Returns
        -------
        Begun or None
            None if nothing is there or it is damaged: then the split is done from its beginning.
        """
        found = _read(self._path(split, "-begun"))
        self._kept_at = time.monotonic()
        return found and Begun(validation=_by_C(found[0]), path=found[1])

    def put_begun(self, split: int, begun: Begun) -> None:
        """Write how far a split has come, if that is worth it; the state before is replaced.

        Parameters
        ----------
        split : int
            Its position.
        begun : Begun
            What was found so far.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        n_bytes = sum(array.nbytes for array in begun.path.values())
        start = time.monotonic()
        if start - self._kept_at < self._worth * n_bytes / self._speed:
            return
        _write(self._path(split, "-begun"), {"validation": list(begun.validation.items())}, begun.path)
        self._kept_at = time.monotonic()
        self._speed = max(n_bytes, 1) / max(self._kept_at - start, 1e-6)

    def _path(self, split: int, state: str = "") -> Path:
        return self._folder / f"line-{self._line}-split-{split}{state}.npz"


def folder_of(results: Path, inputs_sha256: str, way: str) -> Path:
    """Name the folder of an evaluation's finished splits.

    Parameters
    ----------
    results : Path
        The store of results.
    inputs_sha256 : str
        Hash of all that decides the scores.
    way : str
        What may change their last bits as well. So may libraries, threads and code, which are found out here: what
        was kept is only taken up by a program that would have come to the same bits. Of splits that the workers of a
        cluster fit, threads and memory are those of the machine that makes the result.

    Returns
    -------
    Path
        Whether there or not.
    """
    threads = {name: os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    machine = sha256_of([way, describe(), git_commit(), threads, memory_of_machine()])
    return results / _FOLDER / f"{inputs_sha256[:32]}-{machine[:16]}"


def forget(folder: Path) -> None:
    """Remove what was kept of an evaluation, by whatever libraries and code, now that its result is there.

    Parameters
    ----------
    folder : Path
        As `folder_of` gave it. What others left unfinished goes as well when it is old.
    """
    inputs = folder.name.partition("-")[0]
    for one in folder.parent.glob("*"):
        if one.name.partition("-")[0] == inputs or _is_old(one):
            shutil.rmtree(one, ignore_errors=True)
    with suppress(OSError):  # others are still at it
        folder.parent.rmdir()


def _is_old(folder: Path) -> bool:
    with suppress(OSError):  # gone in this moment
        return max(p.stat().st_mtime for p in (folder, *folder.iterdir())) < time.time() - _KEPT_DAYS * 86_400
    return False


def _by_C(about: dict[str, Any]) -> dict[float, float]:
    return {float(C): float(value) for C, value in about["validation"]}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    try:
        # Opened here: of a damaged archive np.load would leave the file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about: dict[str, Any] = json.loads(arrays.pop(_ABOUT).tobytes())
        _by_C(about)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    return about, arrays


def _write(path: Path, about: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Stream arrays to a file: a copy of them in memory would be one too many."""
    temporary = temporary_beside(path)
    told = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    try:
        with storing(path, sum(array.nbytes for array in arrays.values())):
            path.parent.mkdir(parents=True, exist_ok=True)
            sweep(path.parent)
            with temporary.open("xb") as file:
                np.savez(file, allow_pickle=False, **{_ABOUT: told}, **arrays)
        publish_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
