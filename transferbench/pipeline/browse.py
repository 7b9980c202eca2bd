"""`tb runs`: pretraining runs on disk, whether finished, stopped or still going on. Needs no torch."""

import csv
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transferbench.errors import TrainingError
from transferbench.files import publish
from transferbench.home import Home
from transferbench.locks import holder_of, writer_lock
from transferbench.reporting.run_page import Columns, RunStory, run_page
from transferbench.training.curves import STEPS, read_steps

_DOCUMENT, _METRICS, _PAGE = "run.json", "metrics.csv", "run.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A pretraining run on disk.

    Parameters
    ----------
    folder : Path
        Its name is that of the run.
    state : str
        ``finished``, ``training`` or ``stopped``.
    holder : str
        Who trains it; empty if nobody does.
    summary : dict
        Content of ``run.json``; empty before the run is finished.
    epochs : mapping of str to list of float
        Columns of ``metrics.csv``.
    """

    folder: Path
    state: str
    holder: str
    summary: Mapping[str, Any]
    epochs: Columns

    @property
    def name(self) -> str:
        """Of the run."""
        return self.folder.name

    @property
    def recipe_name(self) -> str:
        """Of the recipe; from the folder's name as long as the run is not finished."""
        return str(self.summary.get("recipe_name", self.name.rpartition("-")[0]))

    @property
    def n_bytes(self) -> int:
        """Size on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def last(self, column: str) -> float | None:
        """Return what the last finished epoch reached.

        Parameters
        ----------
        column : str
            Of ``metrics.csv``.

        Returns
        -------
        float or None
            None if no epoch is finished, or it was not measured.
        """
        values = self.epochs.get(column, ())
        return values[-1] if values else None


def stored_runs(home: Home) -> list[StoredRun]:
    """List the runs of a work folder.

    Parameters
    ----------
    home : Home
        The work folder.

    Returns
    -------
    list of StoredRun
        By name.
    """
    folders = sorted(path for path in home.runs.glob("*") if path.is_dir())
    return [_stored(folder) for folder in folders]


def find_run(home: Home, name: str | None) -> StoredRun:
    """Find a run.

    Parameters
    ----------
    home : Home
        The work folder.
    name : str or None
        Of the run or the beginning of it, of its recipe (then the newest), or its folder; None for the newest of all.

    Returns
    -------
    StoredRun
        As it is now.

    Raises
    ------
    TrainingError
        If there is none, or several begin like this.
    """
    if name is not None and "/" in name and Path(name).is_dir():
        return _stored(Path(name).absolute())
    runs = sorted(stored_runs(home), key=lambda run: run.folder.stat().st_mtime, reverse=True)
    exact = [run for run in runs if name in {None, run.name, run.recipe_name}]
    begun = [run for run in runs if name is not None and run.name.startswith(name)]
    if not exact and len(begun) > 1:
        msg = f"several runs begin with {name}: {', '.join(sorted(run.name for run in begun))}"
        raise TrainingError(msg)
    if not exact and not begun:
        msg = (
            f"there is no run {name or ''} in {home.runs}.\n  tb runs list shows what is there; tb pretrain makes one."
        )
        raise TrainingError(msg.replace("run  in", "run in"))
    return (exact or begun)[0]


def run_rows(run: StoredRun) -> list[tuple[str, str]]:
    """Tell a run in rows of a name and a value.

    Parameters
    ----------
    run : StoredRun
        Any.

    Returns
    -------
    list of tuple of str
        For a table of two columns.
    """
    summary, epochs = run.summary, run.epochs.get("epoch", ())
    rows = [("state", f"{run.state}{f', {run.holder}' if run.holder else ''}"), ("recipe", run.recipe_name)]
    rows.append(("epochs finished", f"{len(epochs)}"))
    for title, column in (("top-1 accuracy", "accuracy"), ("top-5 accuracy", "top5")):
        if (value := run.last(column)) is not None:
            rows.append((f"held-out {title}", f"{value:.2%}"))
    if (best := _best(run)) is not None:
        rows.append(("best epoch", best))
    if (loss := run.last("loss")) is not None:
        rows.append(("loss of the last epoch", f"{loss:.4g}"))
    if summary:
        rows.append(("device", str(summary.get("device", ""))))
        rows.append(("images", _images_told(summary.get("pixels"))))
        rows.append(("trained by", f"transferbench at {summary.get('git_commit') or 'an unknown commit'}"))
    return [*rows, ("size", f"{run.n_bytes / 1e6:,.1f} MB"), ("folder", str(run.folder))]


def run_document(run: StoredRun) -> dict[str, Any]:
    """Return a run as plain JSON values.

    Parameters
    ----------
    run : StoredRun
        Any.

    Returns
    -------
    dict
        Epochs and steps included.
    """
    return {
        "run": run.name,
        "folder": str(run.folder),
        "state": run.state,
        "recipe_name": run.recipe_name,
        "bytes": run.n_bytes,
        "epochs": [dict(zip(run.epochs, row, strict=True)) for row in zip(*run.epochs.values(), strict=True)],
        "steps": [asdict(line) for line in read_steps(run.folder / STEPS)],
        "document": dict(run.summary),
    }


def write_run_page(run: StoredRun) -> Path:
    """Write the page of a run.

    Parameters
    ----------
    run : StoredRun
        Any.

    Returns
    -------
    Path
        ``run.html`` in its folder.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    lines = [asdict(line) for line in read_steps(run.folder / STEPS)]
    story = RunStory(
        name=run.name,
        state=f"being trained by {run.holder}" if run.holder else run.state,
        facts=run_rows(run),
        steps={name: [line[name] for line in lines] for name in lines[0]} if lines else {},
        epochs=run.epochs,
        recipe=run.summary.get("recipe", {}),
    )
    publish(run.folder / _PAGE, run_page(story).encode())
    return run.folder / _PAGE


def remove_run(run: StoredRun) -> None:
    """Delete a run: weights, checkpoints, curves.

    Parameters
    ----------
    run : StoredRun
        Not one that is being trained.

    Raises
    ------
    StorageError
        If it is being trained.
    """
    with writer_lock(run.folder, f"the pretraining run {run.name}"):
        # The document first: a run half deleted must not look like a finished one.
        (run.folder / _DOCUMENT).unlink(missing_ok=True)
        shutil.rmtree(run.folder)


def _stored(folder: Path) -> StoredRun:
    holder = holder_of(folder)
    finished = (folder / _DOCUMENT).is_file() and (folder / "weights.safetensors").is_file()
    state = "training" if holder else "finished" if finished else "stopped"
    summary: dict[str, Any] = {}
    if finished:
        try:
            summary = json.loads((folder / _DOCUMENT).read_bytes())
        except (OSError, ValueError):
            state = "damaged"
    return StoredRun(folder=folder, state=state, holder=holder, summary=summary, epochs=_columns(folder / _METRICS))


def _best(run: StoredRun) -> str | None:
    """Tell the first epoch with the highest accuracy, and how its weights are named."""
    accuracies = run.epochs.get("accuracy", ())
    if not accuracies:
        return None
    best = max(accuracies)
    kept = (run.folder / "weights-best.safetensors").is_file()
    named = f", --weights run:{run.name}@best" if kept else ""
    return f"{list(accuracies).index(best) + 1} with a top-1 accuracy of {best:.2%}{named}"


def _columns(path: Path) -> dict[str, list[float]]:
    """Read a table of numbers; a table that cannot be read has no columns."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
        return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}
    except (OSError, UnicodeDecodeError, TypeError, ValueError):
        return {}


def _images_told(pixels: Mapping[str, Any] | None) -> str:
    if not pixels:
        return "as they are distributed"
    return (
        f"a pack at short side {pixels['short_side']} px, quality {pixels['quality']}, sha256 {pixels['sha256'][:16]}"
    )
