"""`tb runs` over folders as a training writes them: finished, stopped, going on."""

import json
import os
import socket
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from transferbench.cli import main
from transferbench.training.curves import StepTable
from transferbench.training.watch import StepLine

EPOCHS = "epoch,loss,accuracy,top5,learning_rate\n1,6.5,0.125,0.25,0.01\n2,5.25,0.5,0.75,0.001\n"


@pytest.fixture
def home(tmp_path):
    """Three runs: finished (with steps), stopped in its first epoch, and one that this process seems to train."""
    runs = tmp_path / "runs"
    done, stopped, going = (runs / name for name in ("digits_a-11112222", "ilsvrc2012_b-33334444", "digits_a-55556666"))
    for folder in (done, stopped, going):
        folder.mkdir(parents=True)
        (folder / "checkpoint-000000001.pt").write_bytes(b"\0" * 1000)
    (done / "metrics.csv").write_text(EPOCHS)
    (done / "weights.safetensors").write_bytes(b"\0" * 5000)
    pixels = {"kind": "pack", "short_side": 256, "quality": 95, "sha256": "ab" * 32}
    document = {"recipe_name": "digits_a", "recipe": {"epochs": 2}, "device": "cpu", "git_commit": None}
    (done / "run.json").write_text(json.dumps(document | {"pixels": pixels}))
    for folder in (done, going):
        table = StepTable(folder)
        for step in range(1, 7):
            table.step(
                StepLine(step=step, epoch=step / 3, loss=7 - step / 4, learning_rate=0.01 / step, images_per_s=100.0)
            )
    (going / ".lock-holder").write_text(f"process {os.getpid()} on {socket.gethostname()}")
    os.utime(done, (2e9, 2e9))
    return SimpleNamespace(path=tmp_path, done=done, stopped=stopped, going=going)


def call(home, *arguments):
    result = CliRunner().invoke(main, ["runs", *arguments, "--home", str(home.path)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return SimpleNamespace(code=result.exit_code, out=result.stdout, err=result.stderr)


def test_runs_are_listed_with_their_state_and_what_they_reached(home):
    rows = {row["run"]: row for row in json.loads(call(home, "list", "--json").out)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "digits_a-11112222": "finished",
        "digits_a-55556666": "training",
        "ilsvrc2012_b-33334444": "stopped",
    }
    assert (rows["digits_a-11112222"]["epochs"], rows["digits_a-11112222"]["top-1_accuracy"]) == (2, 0.5)
    assert rows["ilsvrc2012_b-33334444"]["top-1_accuracy"] is None
    assert "50.0%" in call(home, "list").out


def test_a_run_whose_process_is_gone_is_stopped(home):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1, text=True, check=True)
    (home.going / ".lock-holder").write_text(f"process {gone.stdout.strip()} on {socket.gethostname()}")
    assert "training" not in call(home, "list").out


def test_a_shown_run_tells_what_it_read_and_gives_its_curves_as_json(home):
    shown = call(home, "show", "digits_a-11112222")
    assert "75.00%" in shown.out
    assert "a pack at short side 256 px, quality 95" in shown.out
    assert "2 with a top-1 accuracy of 50.00%" in shown.out
    assert "@best" not in shown.out  # this run has not kept them
    (home.done / "weights-best.safetensors").touch()
    assert "--weights run:digits_a-11112222@best" in call(home, "show", "digits_a-11112222").out
    told = json.loads(call(home, "show", "digits_a-1111", "--json").out)
    assert [epoch["accuracy"] for epoch in told["epochs"]] == [0.125, 0.5]
    assert [step["loss"] for step in told["steps"]] == [7 - step / 4 for step in range(1, 7)]


class _Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.captions, self.labels, self.links, self._in = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._in = tag
        values = dict(attrs)
        self.labels += [values["aria-label"]] if "aria-label" in values else []
        self.links += [value for key, value in attrs if key in {"src", "href"}]

    def handle_data(self, data):
        self.captions += [data] if self._in == "figcaption" and data.strip() else []


def test_the_page_draws_loss_errors_rate_and_speed_and_needs_no_other_file(home):
    call(home, "show", "digits_a-11112222")
    page = _Page((home.done / "run.html").read_text())
    assert page.captions == ["Loss", "Error on held-out images", "Learning rate", "Speed"]
    assert page.links == ["data:,"]  # no icon: a browser would ask for one otherwise
    assert "top-1" in page.labels[1]
    assert "87.5" in page.labels[1]  # the error of an accuracy of 0.125, in per cent
    assert "25" in page.labels[1]


def test_a_run_is_drawn_while_it_goes_on_and_before_anything_is_known(home):
    assert call(home, "show", "digits_a-5").code == 0
    going = (home.going / "run.html").read_text()
    assert f"being trained by process {os.getpid()}" in going
    assert _Page(going).captions == ["Loss", "Learning rate", "Speed"]
    assert call(home, "show", "ilsvrc2012_b").code == 0
    assert "No epoch is finished" in (home.stopped / "run.html").read_text()


def test_names_of_recipes_mean_their_newest_run_and_no_name_the_newest_of_all(home):
    assert call(home, "show", "digits_a").out.startswith("digits_a-11112222")
    assert call(home, "show").out.startswith("digits_a-11112222")
    several, none = call(home, "show", "digits_a-"), call(home, "show", "other")
    assert several.code == none.code == 1
    assert "several runs begin with digits_a-: digits_a-11112222, digits_a-55556666" in several.err
    assert "there is no run other" in none.err


def test_a_run_is_deleted_only_with_yes_and_never_while_it_is_trained(home):
    assert json.loads(call(home, "rm", "ilsvrc2012_b", "--json").out)[0]["deleted"] is False
    assert home.stopped.is_dir()
    assert json.loads(call(home, "rm", "ilsvrc2012_b", "--yes", "--json").out)[0]["deleted"] is True
    assert not home.stopped.exists()
    from transferbench.locks import writer_lock

    with writer_lock(home.going, "the run"):
        held = call(home, "rm", "digits_a-5", "--yes")
    assert held.code == 1
    assert "is being written by process" in held.err
    assert home.going.is_dir()


def test_a_damaged_document_or_table_does_not_hide_the_other_runs(home):
    (home.done / "run.json").write_text("{")
    (home.done / "metrics.csv").write_text("epoch,loss\n1,not a number\n")
    rows = {row["run"]: row for row in json.loads(call(home, "list", "--json").out)}
    assert rows["digits_a-11112222"]["state"] == "damaged"
    assert len(rows) == 3
