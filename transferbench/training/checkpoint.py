"""The state of a training run on disk: one file per saved step, published whole, checked by its own hash."""

import hashlib
import io
import os
import pickle
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import torch

from transferbench.errors import TrainingError
from transferbench.files import publish_file, storing, temporary_beside
from transferbench.progress import Progress

_MAGIC = b"transferbench checkpoint 2\n"
_DIGEST_BYTES = 32
KEEP = 2
BEST = "checkpoint-best.pt"


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], *, best: bool = False) -> Path:
    """Write the state after a step and drop all but the newest files.

    Parameters
    ----------
    folder : Path
        Of the run.
    step : int
        Steps done since the start of the run.
    state : dict
        Tensors and plain values.
    best : bool, default False
        Whether the file gets the name of the best one, too.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    StorageError
        If it cannot be written; the older ones are still there.
    """
    path = _path(folder, step)
    temporary = temporary_beside(path)
    size = sum(t.numel() * t.element_size() for t in _tensors(state))
    try:
        with storing(path, size):
            folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(_MAGIC + bytes(_DIGEST_BYTES))
                hashed = _Hashed(file)
                try:
                    torch.save(state, hashed)  # type: ignore[arg-type]  # writes and flushes, no more is called
                except RuntimeError as problem:  # torch closes what it could not write, and complains of that instead
                    raise hashed.problem or problem from problem
                file.seek(len(_MAGIC))
                file.write(hashed.digest.digest())
            if best:  # before the step has its file: whoever is killed in between makes the epoch's end once more
                _link(temporary, folder / BEST)
        publish_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    for _, old in _all(folder)[:-KEEP]:
        old.unlink(missing_ok=True)
    return path


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
    found = [path for _, path in reversed(_all(folder))]
    if (folder / BEST).is_file():  # the last resort: it may be many epochs old
        found.append(folder / BEST)
    for path in found:
        state = read_checkpoint(path)
        if state is not None:
            return state
        progress.say(f"{path} is damaged; going back to the checkpoint before it")
    if found:
        msg = f"every checkpoint in {folder} is damaged. Delete that folder to train anew."
        raise TrainingError(msg)
    return None


def newest_step(folder: Path) -> int | None:
    """Tell after which step the newest checkpoint was made.

    Parameters
    ----------
    folder : Path
        Of the run.

    Returns
    -------
    int or None
        Since the start of the run; None when there is no checkpoint.
    """
    found = _all(folder)
    return found[-1][0] if found else None


def remove_checkpoints(folder: Path) -> None:
    """Delete all checkpoints of a run that is finished, or begins anew.

    Parameters
    ----------
    folder : Path
        Of the run.
    """
    for path in folder.glob("checkpoint-*.pt"):
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
    head = len(_MAGIC) + _DIGEST_BYTES
    data = path.read_bytes()
    # torch.load does not check the CRCs of its own container, so a flipped bit would load silently.
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(memoryview(data)[head:]).digest() != data[len(_MAGIC) : head]:
        return None
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(memoryview(data)[head:]), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError):
        return None
    return state


class _Hashed:
    """A file that is written from front to back and hashed on the way: a gigabyte is not kept twice."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.problem: OSError | None = None

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self._file.write(data)
        except OSError as problem:
            self.problem = problem
            raise

    def flush(self) -> None:
        self._file.flush()


def _link(path: Path, name: Path) -> None:
    """Give a file a second name; a copy where the disk knows no links."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    temporary = temporary_beside(name)
    try:
        os.link(path, temporary)
    except OSError:
        shutil.copyfile(path, temporary)
    temporary.replace(name)


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for child in children for tensor in _tensors(child)]


def _path(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step:09d}.pt"


def _all(folder: Path) -> list[tuple[int, Path]]:
    numbered = [path for path in folder.glob("checkpoint-*.pt") if path.name != BEST]
    return sorted((int(path.stem.removeprefix("checkpoint-")), path) for path in numbered)
