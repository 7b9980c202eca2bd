"""The training loop: epochs of steps, a look at held-out images after each, and a state that can be gone back to."""

import csv
import io
import math
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transferbench.errors import TrainingError
from transferbench.files import publish
from transferbench.progress import Progress, Task
from transferbench.training.batch import Batch, Crops
from transferbench.training.checkpoint import newest_checkpoint, newest_step, save_checkpoint
from transferbench.training.descent import Descent
from transferbench.training.estimate import explained
from transferbench.training.measure import held_out_accuracy
from transferbench.training.options import Execution, TrainingOptions, prepare_device
from transferbench.training.order import parts_of_step, steps_of_epoch
from transferbench.training.pace import Pace
from transferbench.training.processes import Processes
from transferbench.training.randomness import random_state, restore_random, seed_of_process
from transferbench.training.schedule import learning_rate
from transferbench.training.stopping import SIGNALS, Asked, held_back
from transferbench.training.watch import Epoch, Nobody, Watch

ALONE = Processes()
_NOBODY = Nobody()
_SAVED_BEFORE_MEASURING_S = 10.0


@dataclass(slots=True)
class _Position:
    """Where a run stands: epochs finished, steps of the next one, and what these gave."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    rate: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Report:
    """What a step will have to say when the device has got there: its loss, and what the processes wish."""

    step: int
    n_images: int
    rate: float
    values: Tensor
    done: torch.cuda.Event | None

    def read(self) -> tuple[float, list[bool], bool]:
        if self.done is not None:
            self.done.synchronize()
        loss, *stop, save = self.values.tolist()
        return loss, [number > 0 for number in stop], save > 0


def train(
    net: nn.Module,
    images: Crops,
    held_out: Crops,
    options: TrainingOptions,
    execution: Execution,
    *,
    progress: Progress,
    watch: Watch = _NOBODY,
    processes: Processes = ALONE,
    about: dict[str, Any] | None = None,
) -> tuple[tuple[Epoch, ...], nn.Module]:
    """Train a classifier in place, going on from the newest checkpoint if there is one.

    Parameters
    ----------
    net : Module
        As for `Descent`.
    images, held_out : Crops
        To learn from, and to watch.
    options : TrainingOptions
        How.
    execution : Execution
        Where and on what, how precisely, how often to save.
    progress : Progress
        Told after every step.
    watch : Watch
        Told the numbers.
    processes : Processes
        All of them call this with the same arguments.
    about : dict, optional
        Plain values kept in every checkpoint, so that it says by itself what net it holds.

    Returns
    -------
    tuple of Epoch
        The whole history, epochs of an earlier part of the run included. On a CPU, in float32, a resumed run ends with
        the same bits as one that was never stopped.
    Module
        The net to keep: `net`, or its moving average.

    Raises
    ------
    TrainingError
        If the loss stops being finite; the last good checkpoint stays.

    References
    ----------
    Simonyan & Zisserman (2015), Sect. 3.1.
    """
    run = _Run(net.to(execution.device), images, held_out, options, execution, progress, watch, processes)
    run.about = about or {}
    run.resume()
    total = options.epochs * run.steps_per_epoch
    with held_back() as run.asked, progress.task("pretraining", total, done=run.steps_done) as run.task:
        while run.position.epoch < options.epochs:
            run.one_epoch()
    return tuple(run.history), run.descent.result


class _Run:
    def __init__(
        self,
        net: nn.Module,
        images: Crops,
        held_out: Crops,
        options: TrainingOptions,
        execution: Execution,
        progress: Progress,
        watch: Watch,
        processes: Processes,
    ) -> None:
        self._images, self._held_out, self._options, self._execution = images, held_out, options, execution
        self._folder, self._progress, self._watch, self._processes = execution.folder, progress, watch, processes
        # Images draw by themselves; a stream of random numbers has to differ from process to process.
        torch.manual_seed(seed_of_process(options.seed, processes.rank))
        prepare_device(execution.device, execution.precision)
        self.descent = Descent(net, options, execution, processes)
        self.steps_per_epoch = math.ceil(len(images) / options.batch_size)
        self.about: dict[str, Any] = {}
        self.history: list[Epoch] = []
        self.position = _Position()
        self.asked: Asked
        self.task: Task
        self._unread: list[_Report] = []
        self._stop: signal.Signals | None = None
        self._save_is_due = False
        self._saved_at = time.monotonic()
        self._pace = Pace(watch, self.steps_per_epoch)

    @property
    def steps_done(self) -> int:
        return self.position.epoch * self.steps_per_epoch + self.position.step

    def one_epoch(self) -> None:
        """Make the steps that the epoch still lacks, look at the held-out images, save."""
        self._pace.begin()
        for parts, counted, n_images in self._steps():
            self._unread.append(self._step(parts, n_images, counted=counted))
            self._read(leave=1)  # the step before has left the device by now, so nobody waits
            every = self._execution.save_every_steps
            if self._stop or self._save_is_due or (every and self.steps_done % every == 0):
                self._save()
        self._read()
        self._pace.line()
        if self._stop or self._agreed(time.monotonic() - self._saved_at > _SAVED_BEFORE_MEASURING_S):
            self._save()
        with self.asked.let_through():  # all is saved, and this may take minutes
            self._measure()
        self._save(best=self.history[-1].accuracy > max((e.accuracy for e in self.history[:-1]), default=-1.0))

    def resume(self) -> None:
        """Go on from the newest checkpoint that is whole."""
        state = newest_checkpoint(self._folder, self._progress)
        if state is None:
            return
        self.descent.restore(state)
        self.position = _Position(**state["position"])
        self.history = [Epoch(**line) for line in state["history"]]
        restore_random(state["random"], self._processes, self._progress)
        where = f"epoch {self.position.epoch}"
        if self.position.step:
            where = f"step {self.position.step} of epoch {self.position.epoch + 1}"
        self._progress.say(f"resuming after {where} from {self._folder}")

    def _steps(self) -> Iterator[tuple[list[Batch], bool, int]]:
        """Yield this process's parts of every step that is left, whether they count, and the size of the whole step."""
        epoch, options = self.position.epoch, self._options
        steps = steps_of_epoch(len(self._images), epoch, options.batch_size, options.seed)[self.position.step :]
        shares = [parts_of_step(batch, self._processes, self._execution.images_at_once) for batch in steps]
        loaded = self._images.batches([part for parts, _ in shares for part in parts], epoch)
        for batch, (parts, counted) in zip(steps, shares, strict=True):
            yield list(islice(loaded, len(parts))), counted, len(batch)

    def _step(self, parts: list[Batch], n_images: int, *, counted: bool) -> _Report:
        rate = learning_rate(
            self._options.schedule,
            self._options.learning_rate,
            step=self.steps_done,
            steps_per_epoch=self.steps_per_epoch,
            epochs=self._options.epochs,
            accuracies=[line.accuracy for line in self.history],
        )
        with explained(len(parts[0].rows), self._execution):
            loss = self.descent.step(parts, n_images, self.position.epoch, rate, counted=counted)
        self.position.step += 1
        # All processes must stop and save after the same step, so what they wish travels with the loss.
        due = self._processes.first and time.monotonic() - self._saved_at > self._execution.save_every_s
        wishes = torch.tensor([*(self.asked.by is number for number in SIGNALS), due], dtype=torch.float64)
        values = torch.cat([loss.double().view(1), wishes.to(loss.device, non_blocking=True)])
        values = self._processes.sum(values).to("cpu", non_blocking=True)
        done = torch.cuda.Event() if loss.is_cuda else None  # type: ignore[no-untyped-call]
        if done is not None:
            done.record()
        return _Report(self.position.step, n_images, rate, values, done)

    def _read(self, *, leave: int = 0) -> None:
        """Take in what steps have to say, up to the last few."""
        while len(self._unread) > leave:
            report = self._unread.pop(0)
            loss, stop, save = report.read()
            if not math.isfinite(loss):
                raise TrainingError(self._diverged(report, loss))
            self.position.loss_sum += loss
            self.position.rate = report.rate
            self._stop = self._stop or next((number for number, wish in zip(SIGNALS, stop, strict=True) if wish), None)
            self._save_is_due = self._save_is_due or save
            step = self.position.epoch * self.steps_per_epoch + report.step
            self.task.advance(note=self._pace.told(step, loss, report.n_images, report.rate, self.history[-1:] or None))

    def _agreed(self, wish: bool) -> bool:  # noqa: FBT001 - a wish is what it is about
        """Ask the first process."""
        mine = torch.tensor(float(wish and self._processes.first), device=self._execution.device)
        return bool(self._processes.sum(mine) > 0)

    def _measure(self) -> None:
        top1, top5 = held_out_accuracy(
            self.descent.result,
            self._held_out,
            at_once=self._execution.images_at_once or math.ceil(self._options.batch_size / self._processes.world),
            execution=self._execution,
            processes=self._processes,
        )
        line = Epoch(
            epoch=self.position.epoch + 1,
            loss=self.position.loss_sum / len(self._images),
            accuracy=top1,
            top5=top5,
            learning_rate=self.position.rate,
        )
        self.history.append(line)
        self._watch.epoch(line)
        self.position = _Position(epoch=line.epoch)

    def _save(self, *, best: bool = False) -> None:
        """Write a checkpoint; leave, if that was asked for."""
        self._read()
        state = {
            **self.descent.state(),
            "random": self._processes.collect(random_state(self._execution.device)),
            "position": asdict(self.position),
            "history": [asdict(line) for line in self.history],
            "about": self.about,
        }
        if self._processes.first:
            save_checkpoint(self._folder, self.steps_done, state, best=best)
            _write_metrics(self._folder, self.history)
        self._saved_at, self._save_is_due = time.monotonic(), False
        if self._stop is not None:
            self._processes.wait()  # nobody leaves before the file is there
            self.asked.leave(self._stop)

    def _diverged(self, report: _Report, loss: float) -> str:
        kept = newest_step(self._folder)
        return (
            f"the loss became {loss} in epoch {self.position.epoch + 1}, step {report.step} of "
            f"{self.steps_per_epoch}, at learning rate {report.rate:g}.\n"
            + (f"  The state after step {kept} of the run is kept in {self._folder}.\n" if kept else "")
            + "  Lower learning_rate in the recipe, or try init: glorot."
        )


def _write_metrics(folder: Path, history: list[Epoch]) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=[field.name for field in fields(Epoch)])
    writer.writeheader()
    writer.writerows(asdict(line) for line in history)
    publish(folder / "metrics.csv", table.getvalue().encode())
