"""What every test may use: the real command line in a process of its own, and one finished experiment for all tests."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """`tb` with a work folder of its own."""

    home: Path
    cwd: Path

    def start(self, *args, **popen):
        # stderr and stdout are pipes, so there are no bars; one thread per process keeps parallel test runs fair.
        environment = {**os.environ, "TB_HOME": str(self.home), "PYTHONUNBUFFERED": "1", **popen.pop("env", {})}
        return subprocess.Popen(
            [sys.executable, "-m", "transferbench", *map(str, args)],
            cwd=self.cwd,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **popen,
        )

    def __call__(self, *args, **popen):
        process = self.start(*args, **popen)
        out, err = process.communicate(timeout=400)
        assert "Traceback" not in err, err
        return Done(process.returncode, out, err)


@pytest.fixture
def tb(tmp_path):
    """The command line with an empty work folder, started from another folder than the repository."""
    return CommandLine(home=tmp_path / "home", cwd=tmp_path)


@dataclass(frozen=True)
class Experiment:
    """`tb run digits_stack` in an empty work folder."""

    tb: CommandLine
    first: Done

    @property
    def folder(self) -> Path:
        return next((self.tb.home / "results" / "digits_stack").iterdir())

    @property
    def result(self):
        return json.loads((self.folder / "result.json").read_text())


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    """The main job, done once: about a minute. Tests must not change its work folder."""
    folder = tmp_path_factory.mktemp("experiment")
    tb = CommandLine(home=folder / "home", cwd=folder)
    first = tb("run", "digits_stack")
    assert first.code == 0, first.err
    return Experiment(tb, first)


@pytest.fixture
def quick_recipe(tmp_path):
    """A recipe that needs no pretraining: a very slim net with random weights at one scale."""
    path = tmp_path / "quick.yaml"
    path.write_text(
        """# A very slim random net.
version: 1
dataset: digits
features:
  nets:
    - {name: A, width: 0.03125, crop: 32, weights: {kind: random, seed: 3}}
  scales: [32, 48]
  flip: true
aggregate: {kind: stack, l2: both}
svm:
  loss: squared_hinge
  C: [1.0, 10.0]
  selection: validation
claims: null
"""
    )
    return path
