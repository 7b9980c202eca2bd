"""Finished splits of an evaluation that goes on: files beside the results, removed once the result is there."""

import io
import json
import shutil
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transferbench.evaluation.protocol import Piece
from transferbench.files import publish

_FOLDER = ".unfinished"
_ABOUT = "about"


@dataclass(frozen=True, slots=True)
class StoredPieces:
    """The finished splits of one line of a result; see `evaluation.protocol.Pieces`.

    Parameters
    ----------
    folder : Path
        Of this result, by the hash of all that decides its scores.
    line : int
        Of the result.
    """

    folder: Path
    line: int

    def get(self, split: int) -> Piece | None:
        """Read a split.

        Parameters
        ----------
        split : int
            Its position.

        Returns
        -------
        Piece or None
            None if it is not there or is damaged: then it is computed again.
        """
        try:
            with np.load(io.BytesIO(self._path(split).read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(arrays.pop(_ABOUT).tobytes())
            return Piece(C=about["C"], validation=dict(about["validation"]), machine=arrays)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def put(self, split: int, piece: Piece) -> None:
        """Write a split.

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
        about = json.dumps({"C": piece.C, "validation": list(piece.validation.items())}).encode()
        inner = io.BytesIO()
        np.savez(inner, allow_pickle=False, **{_ABOUT: np.frombuffer(about, dtype=np.uint8)}, **piece.machine)
        publish(self._path(split), inner.getvalue())

    def _path(self, split: int) -> Path:
        return self.folder / f"line-{self.line}-split-{split}.npz"


def folder_of(results: Path, inputs_sha256: str) -> Path:
    """Name the folder of an evaluation's finished splits.

    Parameters
    ----------
    results : Path
        The store of results.
    inputs_sha256 : str
        Hash of all that decides the scores.

    Returns
    -------
    Path
        Whether there or not.
    """
    return results / _FOLDER / inputs_sha256


def forget(folder: Path) -> None:
    """Remove finished splits, now that their result is there.

    Parameters
    ----------
    folder : Path
        As `folder_of` gave it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # others are still at it
        folder.parent.rmdir()
