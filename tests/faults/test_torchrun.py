"""`tb pretrain` under torchrun: one rank is killed, torchrun starts all anew, and they go on by themselves."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from transferbench.nets.weights import load_weights

ARGS = (
    "pretrain", "--recipe", "digits_a", "--epochs", "8", "--batch-size", "60", "--limit", "30", "--device", "cpu",
    "--no-tensorboard", "--json",
)  # fmt: skip


def torchrun(home, cwd):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", "2", "-m", "transferbench", *ARGS]
    environment = {**os.environ, "TB_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def children(pid):
    """Find the processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def weights_in(home):
    (found,) = home.glob("runs/*/weights.safetensors")
    return load_weights(found).header.sha256


@pytest.mark.skipif(os.environ.get("TB_FAULTS") != "long", reason="half a minute on a quiet machine: make test-faults")
def test_a_killed_rank_is_restarted_and_the_weights_are_those_of_an_undisturbed_run(tmp_path):
    undisturbed = torchrun(tmp_path / "whole", tmp_path)
    out, err = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, err
    assert out.count('"weights"') == 1  # one process speaks for both
    with torchrun(tmp_path / "parts", tmp_path) as disturbed:
        end = time.monotonic() + 200
        while not list((tmp_path / "parts").glob("runs/*/checkpoint-*.pt")):
            assert disturbed.poll() is None, disturbed.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(max(children(disturbed.pid)), signal.SIGKILL)
        _, err = disturbed.communicate(timeout=300)
    assert disturbed.returncode == 0, err
    assert re.search(r"resuming after (step \d+ of )?epoch \d", err), err
    assert weights_in(tmp_path / "parts") == weights_in(tmp_path / "whole")
