import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "torchvision",
    "sklearn",
    "h5py",
    "scipy",
    "numpy",
    "matplotlib",
    "pydantic",
    "rich",
    "yaml",
    "joblib",
}


def imported(*args):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "transferbench", *args], capture_output=True, text=True, check=True
    )
    return {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }


@pytest.mark.parametrize(
    "args",
    [("--help",), ("run", "--help"), ("extract", "--help"), ("evaluate", "-h"), ("recipes", "--help"), ("--version",)],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(args):
    modules = imported(*args)
    assert "click" in modules
    assert not modules & HEAVY


@pytest.mark.parametrize(
    "args", [("nets", "list"), ("recipes", "list"), ("recipes", "check"), ("datasets", "list")], ids=" ".join
)
def test_lists_import_neither_torch_nor_scikit_learn_nor_h5py(args):
    assert not imported(*args) & {"torch", "sklearn", "h5py", "matplotlib"}
