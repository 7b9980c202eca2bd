"""Evaluates a made-up problem in a child process that is killed at a random moment, again and again: see the test.

Prints, as JSON: how often the child was killed, how many of the kills left pieces behind, and hashes of the scores of
the child that came to its end and of one that nobody disturbed.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np

from transferbench.evaluation.aggregate import FeatureParts, Source
from transferbench.evaluation.protocol import evaluate
from transferbench.evaluation.svm import gram
from transferbench.evaluation.svm.solvers import make_solver
from transferbench.pipeline.pieces import StoredPieces
from transferbench.types.labels import ClassLabels
from transferbench.types.split import Split

N, N_CLASSES, N_DIMENSIONS = 900, 12, 40
CS = tuple(0.001 * 3.0**k for k in range(8))


def problem() -> tuple[FeatureParts, ClassLabels, list[Split]]:
    """Make features, labels and two splits; the same in every process."""
    rng = np.random.default_rng(1)
    numbers = np.arange(N) % N_CLASSES
    centres = rng.standard_normal((N_CLASSES, N_DIMENSIONS))
    rows = (centres[numbers] + 2.0 * rng.standard_normal((N, N_DIMENSIONS))).astype(np.float32)
    ids = tuple(f"image-{i:03d}" for i in range(N))
    splits = []
    for number in range(2):
        order = [ids[i] for i in np.random.default_rng(number).permutation(N)]
        fit, validation, test = (tuple(sorted(part)) for part in (order[:500], order[500:700], order[700:]))
        splits.append(Split(name=f"{number + 1} of 2", fit=fit, validation=validation, test=test))
    labels = ClassLabels(
        classes=tuple(map(str, range(N_CLASSES))), by_id={i: int(k) for i, k in zip(ids, numbers, strict=True)}
    )
    return FeatureParts([[Source("net A at 64 px", ids, lambda: iter([rows]))]], None, "none"), labels, splits


def run(folder: Path, into: Path) -> None:
    """Evaluate with every state kept; write the hash of all that was found."""
    gram.FLOAT64_UP_TO = 10  # as with many images
    solver, pieces = make_solver("gram", "squared_hinge"), StoredPieces(folder, 0, worth=0)
    found = evaluate(*problem(), solver, CS, lambda: None, pieces=pieces)
    told = [[s.C, s.validation, s.score.value, hashlib.sha256(s.scores.tobytes()).hexdigest()] for s in found.splits]
    into.write_text(json.dumps(told))


def child(folder: Path, into: Path) -> int:
    """Begin to evaluate in a process of its own: forked, so that nothing is imported anew."""
    pid = os.fork()
    if not pid:
        run(folder, into)
        os._exit(0)
    return pid


def main(folder: Path, kills: int, seed: int) -> None:
    """Kill a child so often at a random moment, let the next one come to its end, and one from the beginning."""
    begin = time.monotonic()
    os.waitpid(child(folder / "unbroken-pieces", folder / "unbroken"), 0)
    took_s = time.monotonic() - begin
    rng = np.random.default_rng(seed)
    killed = with_pieces = 0
    while killed < kills:
        pid = child(folder / "pieces", folder / "resumed")
        time.sleep(rng.uniform(0, took_s))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):  # it was quicker: begin again, and wait less
            shutil.rmtree(folder / "pieces")
            took_s *= 0.7
            continue
        killed += 1
        with_pieces += any((folder / "pieces").glob("line-*"))
    os.waitpid(child(folder / "pieces", folder / "resumed"), 0)
    left = sorted(p.name for p in (folder / "pieces").iterdir())
    texts = {name: (folder / name).read_text() for name in ("resumed", "unbroken")}
    print(json.dumps(texts | {"killed": killed, "with_pieces": with_pieces, "left": left}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
