"""Stopping at any moment loses nothing: real processes, real signals."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

PATIENCE_S = 300
"""Bounds only a test that hangs: a machine with other work may need ten times as long as usual."""


def wait_for(condition, process, seconds=PATIENCE_S):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the process did not get that far"
        time.sleep(0.02)


def halt_while_it_writes(tb, process):
    """Stop a process at a moment when it holds a lock, so that it seems to hang."""
    while True:
        wait_for(lambda: list(tb.home.rglob(".lock-holder")), process)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if list(tb.home.rglob(".lock-holder")):
            return
        process.send_signal(signal.SIGCONT)  # it was between two locks


def weights_of(tb):
    (path,) = (tb.home / "runs").glob("*/weights.safetensors")
    return path.read_bytes()


PRETRAIN = ("pretrain", "--recipe", "digits_a", "--epochs", "3", "--device", "cpu")


@pytest.fixture(scope="module")
def unstopped(tb_in, tmp_path_factory):
    """The weights of the same pretraining when nothing stops it."""
    whole = tb_in(tmp_path_factory.mktemp("unstopped"))
    assert whole(*PRETRAIN).code == 0
    return weights_of(whole)


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")]
)
def test_pretraining_that_was_stopped_goes_on_to_the_same_weights(tb, unstopped, number, code, word):
    with tb.start(*PRETRAIN) as process:
        wait_for(lambda: list(tb.home.glob("runs/*/checkpoint-000000029.pt")), process)
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code
    assert f"{word} Finished work is kept; run the same command again to go on." in err
    assert "Traceback" not in err
    assert not list(tb.home.glob("runs/*/weights.safetensors"))
    resumed = tb(*PRETRAIN)
    assert re.search(r"resuming after (step \d+ of )?epoch \d from", resumed.err)
    assert weights_of(tb) == unstopped
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


def test_a_checkpoint_of_a_run_that_goes_on_can_be_imported_and_used(tb, tmp_path):
    with tb.start(*PRETRAIN) as process:
        wait_for(lambda: list(tb.home.glob("runs/*/checkpoint-000000029.pt")), process)
        (found,) = tb.home.glob("runs/*/checkpoint-000000029.pt")
        data = found.read_bytes()
        process.send_signal(signal.SIGKILL)
    (tmp_path / "early.pt").write_bytes(data)
    imported = tb("weights", "import", "early.pt", "--format", "run", "--json")
    assert imported.code == 0, imported.err
    shown = tb("weights", "show", "early", "--json").json()
    assert shown["origin"]["epoch"] == 1
    assert (shown["net"]["name"], shown["net"]["width"]) == ("A", 0.125)
    assert tb("weights", "verify", "early").code == 0
    used = tb("extract", "--dataset", "digits", "--net", "A", "--weights", "early", "--scales", "64", "--no-flip")
    assert used.code == 0, used.err
    (tmp_path / "broken.pt").write_bytes(data[:-1])
    refused = tb("weights", "import", "broken.pt", "--format", "run")
    assert refused.code == 1
    assert "broken.pt: is damaged or no checkpoint of tb pretrain: its hash is wrong" in refused.err


def shards(home):
    return {path.relative_to(home): path.read_bytes() for path in home.rglob("rows-*")}


@pytest.fixture
def alone(tb, tmp_path, quick_recipe):
    """The blocks as one process writes them."""
    whole = type(tb)(home=tmp_path / "alone", cwd=tmp_path)
    assert whole("extract", "--recipe", quick_recipe, "--device", "cpu").code == 0
    return shards(whole.home)


def test_several_processes_share_the_shards_of_a_block(tb, quick_recipe, alone):
    command = ("extract", "--recipe", quick_recipe, "--device", "cpu")
    workers = [tb.start(*command) for _ in range(4)]
    for worker in workers:
        out, err = worker.communicate(timeout=PATIENCE_S)
        assert worker.returncode == 0, err
        assert "797" in out
    assert shards(tb.home) == alone
    assert tb("cache", "verify").code == 0


def test_the_shards_of_a_killed_worker_are_taken_by_the_others(tb, quick_recipe, alone):
    command = ("extract", "--recipe", quick_recipe, "--device", "cpu")
    first, second = (tb.start(*command) for _ in range(2))
    wait_for(lambda: list(tb.home.rglob(".lock-holder")), first)
    first.send_signal(signal.SIGKILL)
    _, err = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, err
    first.communicate()
    assert shards(tb.home) == alone


def test_torchrun_gives_the_block_that_one_process_gives(tb, quick_recipe, alone, tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "transferbench",
    ]
    environment = {**os.environ, "TB_HOME": str(tb.home)}
    done = subprocess.run(
        [*command, "extract", "--recipe", str(quick_recipe), "--device", "cpu", "--json"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # One table, although two processes worked.
    assert [row["images"] for row in json.loads(done.stdout)] == [797, 797]
    assert shards(tb.home) == alone
    assert tb("cache", "verify").code == 0


def test_a_worker_that_hangs_is_named_instead_of_waited_for(tb, quick_recipe, monkeypatch):
    from transferbench.data import open_dataset
    from transferbench.errors import HeldError
    from transferbench.home import Home
    from transferbench.pipeline import extract
    from transferbench.progress import Silent
    from transferbench.recipe.files import load
    from transferbench.recipe.transfer import Recipe

    with tb.start("extract", "--recipe", quick_recipe, "--device", "cpu") as first:
        halt_while_it_writes(tb, first)
        monkeypatch.setattr(extract, "PATIENCE_S", 0.5)
        recipe = load(str(quick_recipe), Recipe)
        try:
            with pytest.raises(HeldError, match=f"is being written by process {first.pid} on "):
                extract.extract_recipe(recipe, open_dataset("digits"), Home(tb.home), device="cpu", progress=Silent())
        finally:
            first.send_signal(signal.SIGKILL)


def test_two_writers_of_one_run_do_not_meet(tb):
    with tb.start(*PRETRAIN) as first:
        halt_while_it_writes(tb, first)  # or it might be done before the second has begun
        second = tb.process(*PRETRAIN)
        first.send_signal(signal.SIGKILL)
    assert second.code == 1
    assert f"is being written by process {first.pid} on " in second.err


def test_a_quick_recipe_runs_from_its_path(tb, quick_recipe):
    done = tb("run", quick_recipe, "--json")
    assert done.code == 0, done.err
    assert done.json()["recipe_name"] == "quick"
    assert done.json()["scores"][0]["dimensions"] == 256
    assert done.json()["scores"][0]["title"] == "random weights, net A"
    assert done.json()["comparison"] is None
    assert (
        json.loads((tb.home / "results" / "quick").glob("*/result.json").__next__().read_text())["recipe_name"]
        == "quick"
    )
