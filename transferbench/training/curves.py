"""Curves of a run: a plain table of its steps, and TensorBoard's event files where TensorBoard is installed."""

import atexit
import csv
import io
import shutil
from dataclasses import asdict, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from transferbench.errors import TrainingError
from transferbench.files import publish, storing
from transferbench.training.watch import Epoch, StepLine, Watch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

STEPS = "steps.csv"
"""A row every few steps; the columns are the fields of `StepLine`."""

EVENTS = "tensorboard"
"""Folder of TensorBoard's event files."""

_COLUMNS = [field.name for field in fields(StepLine)]


class StepTable:
    """Writes ``steps.csv``, a row as soon as it is known; goes on with the table of a run that was stopped.

    Parameters
    ----------
    folder : Path
        Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / STEPS
        self._begun = False

    def step(self, line: StepLine) -> None:
        """Append a row; rows of steps that are made again are dropped first.

        Parameters
        ----------
        line : StepLine
            The row.
        """
        with storing(self._path, 0):
            if not self._begun:
                publish(self._path, _table([row for row in read_steps(self._path) if row.step < line.step]).encode())
                self._begun = True
            with self._path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, _COLUMNS).writerow(asdict(line))

    def epoch(self, line: Epoch) -> None:
        """Do nothing: the history of epochs is kept with the checkpoints, in ``metrics.csv``."""


class TensorBoard:
    """Writes event files; of steps that are made again, TensorBoard shows the last.

    Parameters
    ----------
    folder : Path
        Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / EVENTS
        self._steps_per_epoch = 1.0
        self._writer: SummaryWriter | None = None

    def step(self, line: StepLine) -> None:
        """Write the scalars of a few steps.

        Parameters
        ----------
        line : StepLine
            By its step.
        """
        self._steps_per_epoch = line.step / line.epoch if line.epoch else self._steps_per_epoch
        writer = self._opened(line.step)
        writer.add_scalar("training/loss", line.loss, line.step)
        writer.add_scalar("training/learning rate", line.learning_rate, line.step)
        writer.add_scalar("speed/images per second", line.images_per_s, line.step)

    def epoch(self, line: Epoch) -> None:
        """Write the scalars of an epoch.

        Parameters
        ----------
        line : Epoch
            Shown at the step with which it ended.
        """
        step = round(line.epoch * self._steps_per_epoch)
        writer = self._opened(step)
        writer.add_scalar("held out/top-1 accuracy", line.accuracy, step)
        writer.add_scalar("held out/top-5 accuracy", line.top5, step)
        writer.add_scalar("training/loss of the epoch", line.loss, step)
        writer.flush()

    def close(self) -> None:
        """Write out what is waiting."""
        if self._writer is not None:
            self._writer.close()

    def _opened(self, step: int) -> "SummaryWriter":
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra; takes a second

            self._writer = SummaryWriter(str(self._folder), purge_step=step, flush_secs=10)
            atexit.register(self._writer.close)  # what waits in its thread would be lost
        return self._writer


class Several:
    """Tells every one of several.

    Parameters
    ----------
    watches : tuple of Watch
        In order.
    """

    def __init__(self, watches: tuple[Watch, ...]) -> None:
        self.watches = watches

    def step(self, line: StepLine) -> None:
        """Pass on; see `Watch.step`."""
        for watch in self.watches:
            watch.step(line)

    def epoch(self, line: Epoch) -> None:
        """Pass on; see `Watch.epoch`."""
        for watch in self.watches:
            watch.epoch(line)


def curves(folder: Path, *, tensorboard: bool | None) -> Watch:
    """Make what keeps the curves of a run.

    Parameters
    ----------
    folder : Path
        Of the run.
    tensorboard : bool or None
        Whether event files are written; None where TensorBoard is installed.

    Returns
    -------
    Watch
        For the first process.

    Raises
    ------
    TrainingError
        If TensorBoard is wanted and not installed.
    """
    installed = find_spec("tensorboard") is not None
    if tensorboard and not installed:
        msg = "TensorBoard is not installed.\n  pip install 'transferbench[train]', or leave --tensorboard out."
        raise TrainingError(msg)
    table = StepTable(folder)
    return Several((table, TensorBoard(folder))) if installed and tensorboard is not False else table


def forget_curves(folder: Path) -> None:
    """Delete the curves of a run that begins anew.

    Parameters
    ----------
    folder : Path
        Of the run.
    """
    for name in (STEPS, "metrics.csv"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / EVENTS, ignore_errors=True)


def read_steps(path: Path) -> list[StepLine]:
    """Read a table of steps.

    Parameters
    ----------
    path : Path
        Of ``steps.csv``.

    Returns
    -------
    list of StepLine
        Up to the first row that is not whole, which a killed process may have left; empty if there is no file.
    """
    if not path.is_file():
        return []
    whole, _, _ = path.read_text(encoding="utf-8", errors="replace").rpartition("\n")  # a number may be cut off, too
    lines: list[StepLine] = []
    for row in csv.DictReader(io.StringIO(whole, newline="")):
        try:
            line = StepLine(
                step=int(row["step"]),
                epoch=float(row["epoch"]),
                loss=float(row["loss"]),
                learning_rate=float(row["learning_rate"]),
                images_per_s=float(row["images_per_s"]),
            )
        except (KeyError, TypeError, ValueError):
            break
        lines.append(line)
    return lines


def _table(lines: list[StepLine]) -> str:
    table = io.StringIO()
    writer = csv.DictWriter(table, _COLUMNS)
    writer.writeheader()
    writer.writerows(asdict(line) for line in lines)
    return table.getvalue()
