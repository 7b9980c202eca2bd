"""`tb pretrain` in two processes, over real image files: killed again and again it ends with the bits of a quiet run."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.faults.killed import Death, die_by, plan
from tests.training.members import commands
from tests.training.tree import write_tree
from transferbench.nets.weights import load_weights

TOP = Path(__file__).resolve().parents[2]
LONG = os.environ.get("TB_FAULTS") == "long"
KILLS, EPOCHS = (20, 100) if LONG else (3, 8)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"))


def arguments(tree, home, *, epochs, workers, at_once=8, width="0.03125"):
    return [
        "pretrain", "--net", "A", "--dataset", f"imagefolder:{tree}", "--width", width, "--crop", "32",
        "--epochs", str(epochs), "--batch-size", "8", "--images-at-once", str(at_once), "--workers", str(workers),
        "--save-every-steps", "2", "--device", "cpu", "--no-tensorboard", "--json", "--home", str(home),
    ]  # fmt: skip


def weights_in(home):
    (found,) = home.glob("runs/*/weights.safetensors")
    return load_weights(found)


def assert_same_bits(home, other):
    one, two = weights_in(home), weights_in(other)
    assert one.header.sha256 == two.header.sha256
    assert all(torch.equal(one.state[name], two.state[name]) for name in one.state)
    assert not list(other.glob("runs/*/.*.tmp-*"))  # what a killed process left is swept by the next


def test_killed_at_random_steps_it_ends_with_the_bits_of_a_run_that_nobody_disturbed(tree, tmp_path, capfd):
    assert commands(2, arguments(tree, tmp_path / "whole", epochs=EPOCHS, workers=0)) == [0, 0]
    told = capfd.readouterr()
    assert "Warning" not in told.err
    assert told.out.count('"weights"') == 1  # one process speaks for both
    again = arguments(tree, tmp_path / "parts", epochs=EPOCHS, workers=1)
    for death in plan(8, KILLS):
        codes = commands(2, again, die_by, death)
        assert -signal.SIGKILL in codes
        assert set(codes) <= {-signal.SIGKILL, 1}  # the other finds nobody to talk to, and says so
    assert commands(2, again) == [0, 0]
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")


def test_one_two_and_four_processes_end_with_the_same_weights_up_to_rounding(tree, tmp_path):
    found = []
    for world, at_once in ((1, 8), (1, 3), (2, 8), (4, 1)):
        home = tmp_path / f"{world}-{at_once}"
        # In a slimmer net nothing but rounding arrives at the last layers, and its sign decides which units learn.
        codes = commands(world, arguments(tree, home, epochs=2, workers=0, at_once=at_once, width="0.0625"))
        assert codes == [0] * world
        found.append(weights_in(home).state)
    for other in found[1:]:
        assert all(torch.allclose(found[0][name], other[name], rtol=0, atol=1e-5) for name in other)


@pytest.mark.skipif(not LONG, reason="a minute or two: make test-faults")
def test_torchrun_starts_killed_processes_twenty_times_and_the_bits_are_the_same(tree, tmp_path):
    n, starts = 20, tmp_path / "starts"
    starts.mkdir()
    assert commands(2, arguments(tree, tmp_path / "whole", epochs=100, workers=0)) == [0, 0]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    # A few more than are needed: processes that did not find each other in time are started again, too.
    command += ["--max-restarts", str(n + 5), str(Path(__file__).with_name("killed.py")), str(n), str(starts)]
    done = subprocess.run(
        command + arguments(tree, tmp_path / "parts", epochs=100, workers=1),
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TOP)},
        cwd=tmp_path, text=True, capture_output=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(starts.glob("*"))) > n  # every planned death came before the end
    assert len(re.findall(r"resuming after (?:step \d+ of )?epoch", done.stderr)) >= n // 2
    assert done.stdout.count('"weights"') == 1  # one process speaks for both
    assert_same_bits(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.skipif(not LONG, reason="a compiler takes a minute: make test-faults")
def test_a_compiled_net_ends_with_the_same_weights_up_to_rounding_and_goes_on_uncompiled(tree, tmp_path):
    plain = arguments(tree, tmp_path / "plain", epochs=2, workers=0)
    half = [*arguments(tree, tmp_path / "half", epochs=2, workers=0)]
    compiled = [*arguments(tree, tmp_path / "compiled", epochs=2, workers=0), "--compile"]
    assert commands(1, plain) == commands(1, compiled) == [0]
    death = Death(ranks=(0,), step=4, delay_s=0.0)
    assert commands(1, [*half, "--compile"], die_by, death) == [-signal.SIGKILL]
    assert commands(1, half) == [0]
    one = weights_in(tmp_path / "plain").state
    for other in (weights_in(tmp_path / name).state for name in ("compiled", "half")):
        assert all(torch.allclose(one[name], other[name], rtol=0, atol=1e-6) for name in one)
