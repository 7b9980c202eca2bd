"""A path over C for all classes, beside `LinearSVC` on the same rows: seconds, ratio, memory, and how far they agree.

Ours: Gram matrix of features that come in parts, every C in turn from the one before, and the last one once more on the
training and validation images together. LinearSVC: float64 rows once, then one fit per class and C. Of its classes only
`--reference-classes` are fitted, unless that is all of them; its seconds are then scaled: conversion, measured by a
fit that is stopped after one iteration, counts once per C, the rest times the number of classes. Each side runs in a
process of its own, one after the other, so peaks of memory are its own. The rate of a float32 matrix product is
measured beside them: what the Gram matrix cannot beat. A warm-up compiles our loops outside the time measured.

    python benchmarks/svm_path.py --n 15420 --d 12288 --classes 257 --cs 5 --json
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator

import numpy as np

PART = 4096
BIAS = 1.0


def rows_of(n: int, d: int, classes: int, overlap: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make rows like activations: not negative, about four in five of them 0, unit length; classes that overlap."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, d), dtype=np.float32)
    labels = rng.permutation(np.arange(n) % classes)
    rows = np.empty((n, d), np.float32)
    for start in range(0, n, 512):
        here = labels[start : start + 512]
        noise = rng.standard_normal((len(here), d), dtype=np.float32)
        rows[start : start + 512] = np.maximum(centres[here] / overlap + noise - 0.85, 0)
        rows[start : start + 512] /= np.linalg.norm(rows[start : start + 512], axis=1, keepdims=True)
    return rows, labels


def divided(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n_test = max(500, options.n // 10)
    rows, labels = rows_of(options.n + n_test, options.d, options.classes, options.overlap, options.seed)
    return rows[: options.n], labels[: options.n], rows[options.n :], labels[options.n :]


def values_of_C(count: int) -> list[float]:
    return [float(C) for C in np.logspace(-2, 2, count)]


def objective(rows: np.ndarray, signs: np.ndarray, coef: np.ndarray, intercept: float, C: float) -> float:
    f = rows @ coef + intercept
    return 0.5 * (coef @ coef + (intercept / BIAS) ** 2) + C * (np.maximum(0, 1 - signs * f) ** 2).sum()


def ours(options: argparse.Namespace) -> dict:
    from transferbench.evaluation.aggregate import FeatureParts, Source
    from transferbench.evaluation.svm.descent import Descent
    from transferbench.evaluation.svm.gram import gram_matrix
    from transferbench.evaluation.svm.operators import GramOperator

    warm_up()
    rows, labels, test, truth = divided(options)
    rate = product_rate()
    ids = tuple(f"{i:06d}" for i in range(options.n))

    def source(first: int) -> Source:
        def chunks() -> Iterator[np.ndarray]:
            return (rows[start : start + 256, first : first + PART] for start in range(0, options.n, 256))

        return Source(f"columns {first} and up", ids, chunks)

    found: dict = {"sgemm_gflops": round(rate / 1e9, 1), "by_C": []}
    begin = time.perf_counter()
    features = FeatureParts([[source(first) for first in range(0, options.d, PART)]], None, "none")
    operator = GramOperator(gram_matrix(features, ids, BIAS))
    found["gram_seconds"] = time.perf_counter() - begin
    found["gram_seconds_at_sgemm_rate"] = options.n**2 * options.d / rate
    held_out = np.arange(options.n) % 5 == 4
    signs = np.where(labels == np.arange(options.classes)[:, None], 1, -1).astype(np.int8)
    descent = Descent(operator, np.where(held_out, 0, signs).astype(np.int8), "squared_hinge")
    decisions = {}
    for C in values_of_C(options.cs):
        start = time.perf_counter()
        descent.solve(C)
        found["by_C"].append({"C": C, "seconds": time.perf_counter() - start, "worst_gap": float(descent.gaps.max())})
    start = time.perf_counter()
    whole = Descent(operator, signs, "squared_hinge")
    whole.start_from(descent.coefficients)
    whole.solve(C)
    found["refit_seconds"] = time.perf_counter() - start
    found["seconds"] = time.perf_counter() - begin
    found["peak_GiB"] = peak()
    # What the reference is compared with: the same images at every C, outside the time measured.
    compared = Descent(operator, signs, "squared_hinge")
    found["objectives"] = {}
    for C in values_of_C(options.cs):
        compared.solve(C)
        coef = compared.coefficients.astype(np.float32) @ rows
        bias = BIAS**2 * compared.coefficients.sum(axis=1)
        decisions[f"{C:g}"] = test @ coef.T + bias
        found["objectives"][f"{C:g}"] = [
            objective(rows, signs[k], compared.coefficients[k] @ rows, bias[k], C) for k in subset(options)
        ]
    np.savez(options.decisions, **decisions)
    found["test_accuracy"] = {C: float((scores.argmax(1) == truth).mean()) for C, scores in decisions.items()}
    return found


def reference(options: argparse.Namespace) -> dict:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    warnings.simplefilter("ignore", ConvergenceWarning)
    rows, labels, test, truth = divided(options)
    start = time.perf_counter()
    double = rows.astype(np.float64)
    cast = time.perf_counter() - start
    settings = {"random_state": 0, "tol": 1e-4, "intercept_scaling": BIAS}
    found: dict = {"cast_seconds": cast, "by_C": [], "objectives": {}}
    decisions = {}
    for C in values_of_C(options.cs):
        start = time.perf_counter()
        LinearSVC(C=C, max_iter=1, **settings).fit(double, labels == 0)
        conversion = time.perf_counter() - start
        solves, values, columns = [], [], []
        for k in subset(options):
            signs = np.where(labels == k, 1, -1)
            start = time.perf_counter()
            machine = LinearSVC(C=C, max_iter=100_000, **settings).fit(double, signs)
            solves.append(max(0.0, time.perf_counter() - start - conversion))
            values.append(objective(rows, signs, machine.coef_[0], machine.intercept_[0], C))
            columns.append(test @ machine.coef_[0].astype(np.float32) + machine.intercept_[0])
        seconds = conversion + options.classes * float(np.mean(solves))
        each = float(np.mean(solves))
        found["by_C"].append({"C": C, "seconds": seconds, "conversion": conversion, "per_class": each})
        found["objectives"][f"{C:g}"] = values
        decisions[f"{C:g}"] = np.stack(columns, axis=1)
    # The path and the refit, which has the last C.
    found["seconds"] = cast + sum(row["seconds"] for row in found["by_C"]) + found["by_C"][-1]["seconds"]
    found["peak_GiB"] = peak()
    found["test_accuracy"] = (
        {C: float((scores.argmax(1) == truth).mean()) for C, scores in decisions.items()} if complete(options) else None
    )
    np.savez(options.decisions, **decisions)
    return found


def subset(options: argparse.Namespace) -> range:
    return range(min(options.reference_classes, options.classes))


def complete(options: argparse.Namespace) -> bool:
    return options.reference_classes >= options.classes


def warm_up() -> None:
    """Compile, so that a first run is not charged for it."""
    from transferbench.evaluation.svm.descent import Descent
    from transferbench.evaluation.svm.operators import GramOperator

    rows, labels = rows_of(700, 32, 3, 1.0, 1)
    signs = np.where(labels == np.arange(3)[:, None], 1, -1).astype(np.int8)
    for widest, dtype in ((w, t) for w in (0, 700) for t in (np.float32, np.float64)):
        operator = GramOperator((rows @ rows.T + 1).astype(dtype))
        operator.widest = widest
        descent = Descent(operator, signs, "squared_hinge")
        for C in (0.1, 10.0):
            descent.solve(C)


def product_rate() -> float:
    """Measure a float32 matrix product, in operations per second; the best of three."""
    a = np.random.default_rng(0).standard_normal((3072, 3072), dtype=np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return 2 * 3072**3 / min(seconds)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def side(role: str, options: argparse.Namespace, folder: str) -> tuple[dict, dict]:
    """Run one side in a process of its own."""
    path = f"{folder}/{role}.npz"
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in vars(options).items() if name in KEPT]
    done = subprocess.run(
        [sys.executable, __file__, f"--role={role}", f"--decisions={path}", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout), dict(np.load(path))


KEPT = ("n", "d", "classes", "cs", "reference_classes", "overlap", "seed")


def compare(options: argparse.Namespace) -> dict:
    import tempfile

    from transferbench.environment import cores, describe

    with tempfile.TemporaryDirectory() as folder:
        mine, my_scores = side("ours", options, folder)
        other, other_scores = side("reference", options, folder)
    differences = [
        (a - b) / b
        for C, values in other["objectives"].items()
        for a, b in zip(mine["objectives"][C], values, strict=True)
    ]
    agreement = (
        {C: float((my_scores[C].argmax(1) == scores.argmax(1)).mean()) for C, scores in other_scores.items()}
        if complete(options)
        else None
    )
    signs = min(
        float((np.sign(my_scores[C][:, : scores.shape[1]]) == np.sign(scores)).mean())
        for C, scores in other_scores.items()
    )
    return {
        "machine": {**describe(), "processor": platform.processor() or platform.machine()},
        "shape": {name: getattr(options, name) for name in KEPT},
        "ours": mine,
        "LinearSVC": {**other, "scaled_from_classes": len(subset(options))},
        "ratio_to_plain_LinearSVC": other["seconds"] / mine["seconds"],
        "ratio_to_LinearSVC_split_ideally_over_the_cores": other["seconds"] / mine["seconds"] / cores(),
        "largest_relative_objective_excess": max(differences),
        "argmax_agreement": agreement,
        "sign_agreement_of_decisions": signs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1500, help="training rows")
    parser.add_argument("--d", type=int, default=2048, help="features")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--cs", type=int, default=5, help="values of C, from 0.01 to 100")
    parser.add_argument("--reference-classes", type=int, default=3, help="how many classes LinearSVC really fits")
    parser.add_argument("--overlap", type=float, default=5.0, help="of the classes: larger is harder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--role", choices=("ours", "reference"), help=argparse.SUPPRESS)
    parser.add_argument("--decisions", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        print(json.dumps((ours if options.role == "ours" else reference)(options)))
        return
    found = compare(options)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    mine, other = found["ours"], found["LinearSVC"]
    print(f"{options.n} x {options.d}, {options.classes} classes, {options.cs} values of C and a refit")
    print(f"ours       {mine['seconds']:8.1f} s  {mine['peak_GiB']:.1f} GiB, of it the Gram matrix", end=" ")
    print(f"{mine['gram_seconds']:.1f} s ({mine['gram_seconds_at_sgemm_rate']:.1f} s at the rate of a matrix product)")
    scaled = other["scaled_from_classes"]
    print(
        f"LinearSVC  {other['seconds']:8.1f} s  {other['peak_GiB']:.1f} GiB, from {scaled} of {options.classes} classes"
    )
    print(f"ratio {found['ratio_to_plain_LinearSVC']:.1f}, to an ideal split over the cores", end=" ")
    print(f"{found['ratio_to_LinearSVC_split_ideally_over_the_cores']:.1f}")
    print(f"largest relative excess of our objective {found['largest_relative_objective_excess']:.1e}")
    print(f"argmax agreement {found['argmax_agreement']}, signs {found['sign_agreement_of_decisions']:.5f}")
    print(f"test accuracy by C {mine['test_accuracy']}")


if __name__ == "__main__":
    main()
