"""Compiled code goes to the user's folder, and needs none."""

import os
import subprocess
import sys
from pathlib import Path

import numba

import transferbench

PROGRAM = """
import numpy as np
from transferbench.evaluation.svm.kernels import multiply_sparse
f = np.empty(2)
multiply_sparse(np.eye(2), np.array([2.0, 0.0]), f)
print(f.tolist())
"""


def run(**environment):
    kept = {k: v for k, v in os.environ.items() if k not in {"NUMBA_CACHE_DIR", "XDG_CACHE_HOME"}}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[2.0, 0.0]\n"


def test_machine_code_is_kept_in_the_users_cache_folder(tmp_path):
    before = numba.config.CACHE_DIR
    run(XDG_CACHE_HOME=str(tmp_path))
    assert list((tmp_path / "transferbench-numba").rglob("kernels.multiply_sparse*.nbc"))
    package = Path(transferbench.__file__).parent
    assert not list(package.rglob("*.nbi"))
    assert before == numba.config.CACHE_DIR


def test_a_folder_that_cannot_be_made_does_not_stop_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    run(XDG_CACHE_HOME=str(tmp_path / "file"))
