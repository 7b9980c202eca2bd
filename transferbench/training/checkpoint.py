"""The state of a training run on disk: one file per epoch, published whole, checked by its own hash."""

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from transferbench.errors import TrainingError
from transferbench.files import publish
from transferbench.progress import Progress

_MAGIC = b"transferbench checkpoint 1\n"
_DIGEST_BYTES = 32
KEEP = 2


def save_checkpoint(folder: Path, epoch: int, state: dict[str, Any]) -> None:
    """Write the state after an epoch and drop all but the newest files.

    Parameters
    ----------
    folder : Path
        Of the run.
    epoch : int
        Epochs finished.
    state : dict
        Tensors and plain values.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    publish(_path(folder, epoch), _MAGIC + hashlib.sha256(payload).digest() + payload)
    for _, path in _all(folder)[:-KEEP]:
        path.unlink(missing_ok=True)


def newest_checkpoint(folder: Path, progress: Progress) -> dict[str, Any] | None:
    """Read the newest undamaged state.

    Parameters
    ----------
    folder : Path
        Of the run.
    progress : Progress
        Told about damaged files that are passed over.

    Returns
    -------
    dict or None
        None when there is no checkpoint at all.

    Raises
    ------
    TrainingError
        If there are checkpoints and every one is damaged.
    """
    found = _all(folder)
    for _, path in reversed(found):
        state = read_checkpoint(path)
        if state is not None:
            return state
        progress.say(f"{path} is damaged; going back to the checkpoint before it")
    if found:
        msg = f"every checkpoint in {folder} is damaged. Delete that folder to train anew."
        raise TrainingError(msg)
    return None


def remove_checkpoints(folder: Path) -> None:
    """Delete all checkpoints of a finished run.

    Parameters
    ----------
    folder : Path
        Of the run.
    """
    for _, path in _all(folder):
        path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read one checkpoint; nothing in it is run.

    Parameters
    ----------
    path : Path
        As `save_checkpoint` named it, or a copy.

    Returns
    -------
    dict or None
        None if the file is damaged or no checkpoint.
    """
    data = path.read_bytes()
    head = len(_MAGIC) + _DIGEST_BYTES
    # torch.load does not check the CRCs of its own container, so a flipped bit would load silently.
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(data[head:]).digest() != data[len(_MAGIC) : head]:
        return None
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(data[head:]), weights_only=True)
    except (RuntimeError, pickle.UnpicklingError):
        return None
    return state


def _path(folder: Path, epoch: int) -> Path:
    return folder / f"checkpoint-{epoch:05d}.pt"


def _all(folder: Path) -> list[tuple[int, Path]]:
    return sorted((int(path.stem.removeprefix("checkpoint-")), path) for path in folder.glob("checkpoint-*.pt"))
