import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from transferbench.errors import TrainingError
from transferbench.training import curves as module
from transferbench.training import pace
from transferbench.training.curves import EVENTS, STEPS, StepTable, TensorBoard, curves, read_steps
from transferbench.training.watch import Epoch, StepLine


def line(step, loss=None):
    return StepLine(step=step, epoch=step / 10, loss=loss or 7.0 - step / 100, learning_rate=0.01, images_per_s=123.5)


EPOCH = Epoch(epoch=2, loss=6.5, accuracy=0.25, top5=0.5, learning_rate=0.01)


def written(folder, lines):
    table = StepTable(folder)
    for one in lines:
        table.step(one)


def test_every_row_is_on_disk_at_once_and_comes_back(tmp_path):
    written(tmp_path, [line(10), line(20)])
    assert read_steps(tmp_path / STEPS) == [line(10), line(20)]
    assert (tmp_path / STEPS).read_text().splitlines()[0] == "step,epoch,loss,learning_rate,images_per_s"


def test_a_resumed_run_drops_the_steps_that_it_makes_again(tmp_path):
    written(tmp_path, [line(10), line(20), line(30)])
    written(tmp_path, [line(20, 1.5), line(30, 1.25)])
    assert read_steps(tmp_path / STEPS) == [line(10), line(20, 1.5), line(30, 1.25)]


@pytest.mark.parametrize("tail", ["30,3", "30,3.0,6.7,0.01", "30,3.0,6.7,0.01,", "30,3.0,6.7,0.01,12", "\x00\x00"])
def test_a_row_that_was_cut_off_is_dropped(tmp_path, tail):
    written(tmp_path, [line(10), line(20)])
    with (tmp_path / STEPS).open("a") as file:
        file.write(tail)
    assert read_steps(tmp_path / STEPS) == [line(10), line(20)]
    written(tmp_path, [line(30)])
    assert read_steps(tmp_path / STEPS) == [line(10), line(20), line(30)]


def test_tensorboard_itself_reads_the_events_and_forgets_what_was_made_again(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = TensorBoard(tmp_path)
    for step in (10, 20, 30):
        first.step(line(step))
    first.close()
    again = TensorBoard(tmp_path)
    again.step(line(20, 1.5))
    again.epoch(EPOCH)
    again.close()
    found = EventAccumulator(str(tmp_path / EVENTS))
    found.Reload()
    losses = [(event.step, event.value) for event in found.Scalars("training/loss")]
    assert losses == [(10, pytest.approx(6.9)), (20, 1.5)]
    (accuracy,) = found.Scalars("held out/top-1 accuracy")
    assert (accuracy.step, accuracy.value) == (20, 0.25)  # two epochs of ten steps


def test_event_files_are_written_where_tensorboard_is_installed_or_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert isinstance(curves(tmp_path, tensorboard=None), StepTable)
    with pytest.raises(TrainingError, match=r"transferbench\[train\]"):
        curves(tmp_path, tensorboard=True)
    monkeypatch.setattr(module, "find_spec", lambda _: object())
    assert [type(w) for w in curves(tmp_path, tensorboard=None).watches] == [StepTable, TensorBoard]
    assert isinstance(curves(tmp_path, tensorboard=False), StepTable)


def test_reading_curves_needs_no_torch():
    program = "import sys, transferbench.training.curves; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_the_rate_leaves_out_what_was_done_between_two_epochs(monkeypatch):
    lines, now = [], [0.0]

    class Watching:
        def step(self, line):
            lines.append(line)

    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: now[0]))
    made = pace.Pace(Watching(), 10)
    now[0] = 100.0  # held-out images were measured until now
    made.begin()
    now[0] = 102.0
    made.told(11, 8 * 0.5, 8, 0.01, None)
    made.line()
    made.line()  # nothing new: no line
    assert [(line.step, line.epoch, line.loss, line.images_per_s) for line in lines] == [(11, 1.1, 0.5, 4.0)]
