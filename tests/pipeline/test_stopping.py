"""Stopping at any moment loses nothing: real processes, real signals."""

import json
import signal
import time

import pytest


def wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the process did not get that far"
        time.sleep(0.02)


def weights_of(tb):
    (path,) = (tb.home / "runs").glob("*/weights.safetensors")
    return path.read_bytes()


PRETRAIN = ("pretrain", "--recipe", "digits_a", "--epochs", "3", "--device", "cpu")


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")]
)
def test_pretraining_that_was_stopped_goes_on_to_the_same_weights(tb, tmp_path, number, code, word):
    with tb.start(*PRETRAIN) as process:
        wait_for(lambda: list(tb.home.glob("runs/*/checkpoint-00001.pt")), process)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert f"{word} Finished work is kept; run the same command again to go on." in err
    assert "Traceback" not in err
    assert not list(tb.home.glob("runs/*/weights.safetensors"))
    resumed = tb(*PRETRAIN)
    assert "resuming after epoch" in resumed.err
    whole = type(tb)(home=tmp_path / "whole", cwd=tmp_path)
    assert whole(*PRETRAIN).code == 0
    assert weights_of(tb) == weights_of(whole)
    assert not list(tb.home.glob("runs/*/*.pt"))


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
def test_extraction_that_was_killed_resumes_and_ends_with_the_same_bytes(tb, tmp_path, quick_recipe, delay):
    with tb.start("extract", "--recipe", quick_recipe, "--device", "cpu") as process:
        wait_for(lambda: list(tb.home.glob("features/**/rows-00000.h5")), process)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    done = tb("extract", "--recipe", quick_recipe, "--device", "cpu")
    assert done.code == 0
    whole = type(tb)(home=tmp_path / "whole", cwd=tmp_path)
    assert whole("extract", "--recipe", quick_recipe, "--device", "cpu").code == 0
    found, expected = (
        {path.relative_to(t.home): path.read_bytes() for path in t.home.rglob("rows-*")} for t in (tb, whole)
    )
    assert found == expected
    assert len(found) == 8
    assert not list(tb.home.rglob("*.tmp-*"))


def test_two_writers_of_one_run_do_not_meet(tb):
    with tb.start(*PRETRAIN) as first:
        wait_for(lambda: list(tb.home.glob("runs/*/.lock-holder")), first)
        second = tb(*PRETRAIN)
        first.send_signal(signal.SIGKILL)
    assert second.code == 1
    assert f"is being written by process {first.pid} on " in second.err


def test_a_quick_recipe_runs_from_its_path(tb, quick_recipe):
    done = tb("run", quick_recipe, "--json")
    assert done.code == 0, done.err
    assert done.json()["recipe_name"] == "quick"
    assert done.json()["scores"][0]["dimensions"] == 256
    assert done.json()["comparison"] is None
    assert (
        json.loads((tb.home / "results" / "quick").glob("*/result.json").__next__().read_text())["recipe_name"]
        == "quick"
    )
