"""Compiled code goes to the user's folder, and needs none; whoever compiled it, it gives the same bits."""

import os
import shutil
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
# Both losses, by the Gram matrix and by rows, on few rows (float64) and on many of classes that overlap (float32).
FITS = """
import hashlib
import numpy as np
from transferbench.evaluation.svm.descent import Descent
from transferbench.evaluation.svm.gram import gram_of_rows, working_type
from transferbench.evaluation.svm.objective import one_vs_rest_weights
from transferbench.evaluation.svm.operators import GramOperator
from transferbench.evaluation.svm.rows import RowsOperator

draw = np.random.default_rng(5)
for n, d, noise in ((400, 24, 0.5), (2100, 48, 2.0)):
    numbers = draw.integers(0, 5, n)
    rows = draw.normal(size=(5, d))[numbers] + noise * draw.normal(size=(n, d))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    signs = np.where(numbers == np.arange(5)[:, None], 1, -1).astype(np.int8)
    weights = one_vs_rest_weights(signs, numbers, np.arange(5), None)
    for loss in ("squared_hinge", "hinge"):
        for operator in (GramOperator(gram_of_rows(rows, 1.0)), RowsOperator.of(rows, 1.0, working_type(n))):
            descent = Descent(operator, signs, loss, weights)
            for C in (0.1, 10.0):
                descent.solve(C)
            print(n, loss, type(operator).__name__, hashlib.sha256(descent.coefficients.tobytes()).hexdigest())
"""


def process(program, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in {"NUMBA_CACHE_DIR", "XDG_CACHE_HOME"}}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_machine_code_is_kept_in_the_users_cache_folder(tmp_path):
    before = numba.config.CACHE_DIR
    assert process(PROGRAM, XDG_CACHE_HOME=str(tmp_path)) == "[2.0, 0.0]\n"
    assert list((tmp_path / "transferbench-numba").rglob("kernels.multiply_sparse*.nbc"))
    package = Path(transferbench.__file__).parent
    assert not list(package.rglob("*.nbi"))
    assert before == numba.config.CACHE_DIR


def test_a_folder_that_cannot_be_made_does_not_stop_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    assert process(PROGRAM, XDG_CACHE_HOME=str(tmp_path / "file")) == "[2.0, 0.0]\n"


def test_code_that_is_loaded_gives_the_bits_of_the_process_that_compiled_it(tmp_path):
    compiles, loads = (process(FITS, XDG_CACHE_HOME=str(tmp_path)) for _ in range(2))
    assert compiles.count("\n") == 8
    assert loads == compiles


def test_a_change_in_any_file_of_the_solver_compiles_all_of_it_again(tmp_path, monkeypatch):
    from transferbench.evaluation.svm import compiled

    folder = tmp_path / "svm"
    shutil.copytree(Path(compiled.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiled, "__file__", str(folder / "compiled.py"))
    name = compiled._sources.__wrapped__
    before = name()
    assert before == compiled._sources()
    callee = folder / "newton_kernels.py"
    callee.write_bytes(callee.read_bytes() + b"\n")
    assert name() != before
