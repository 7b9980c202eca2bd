"""What every test may use: the real command line, here or in a process of its own, and one finished experiment."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

# Before numpy and torch are imported: tests run side by side, and rows must be the same bits in every process.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Whoever starts the tests in a shell's background has them ignore Ctrl-C, and commands that they start would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from click.testing import CliRunner
from filelock import FileLock

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
        # stderr and stdout are pipes, so there are no bars.
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

    def __call__(self, *args):
        """Run a command in this process, which saves two seconds of imports; its output and exit code are the same."""
        from transferbench.cli import main

        environment = {"TB_HOME": str(self.home)}
        with _as_found(), contextlib.chdir(self.cwd):
            done = CliRunner().invoke(main, [*map(str, args)], env=environment, prog_name="tb")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    def process(self, *args, **popen):
        """Run a command in a process of its own, as a user does."""
        process = self.start(*args, **popen)
        out, err = process.communicate(timeout=400)
        assert "Traceback" not in err, err
        return Done(process.returncode, out, err)


@contextlib.contextmanager
def _as_found():
    """Put back what a command changes for the whole process, and show warnings instead of raising them."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="session")
def tb_in():
    """Make a command line that works in a folder, with an empty work folder inside it."""
    return lambda folder: CommandLine(home=folder / "home", cwd=folder)


@pytest.fixture
def tb(tb_in, tmp_path):
    """The command line with an empty work folder, started from another folder than the repository."""
    return tb_in(tmp_path)


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


def pytest_collection_modifyitems(items):
    """Begin with the tests of the experiment: one worker makes it, while the others start with what does not need it."""
    items.sort(key=lambda item: "experiment" not in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    """The main job, done once, also for all workers of xdist: about a minute. Tests must not change its work folder."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "experiment"
    folder.mkdir(exist_ok=True)
    tb, told = CommandLine(home=folder / "home", cwd=folder), folder / "told.json"
    with FileLock(folder / ".lock"):
        if not told.exists():
            told.write_text(json.dumps(asdict(tb.process("run", "digits_stack"))))
    first = Done(**json.loads(told.read_text()))
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


class _Here:
    """What we use of a Dask client, in this process and one after the other; `broken` comes of every future."""

    def __init__(self, broken=None):
        self.broken = broken

    def submit(self, function, share, *, pure):
        assert not pure
        return _Here.Future(function, share, self.broken)

    class Future:
        def __init__(self, *given):
            self.given = given

        def done(self):
            return True

        def result(self):
            function, share, broken = self.given
            if broken is not None:
                raise broken
            return function(share)


@pytest.fixture
def without_dask(monkeypatch):
    """Take this process for a cluster; every share ends as `broken`, if that is given."""
    from transferbench.pipeline import cluster

    def use(broken=None):
        monkeypatch.setattr(cluster, "_connected", lambda _: contextlib.nullcontext(_Here(broken)))
        return cluster

    return use
