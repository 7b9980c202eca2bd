"""Our SVMs beside `LinearSVC` in the protocol of a split: seconds, ratio, memory, and how far they agree.

Both choose C on a fifth of the training rows (`--cs` values from 0.01 to 100, all classes) and train once more on all
of them with the C chosen. Ours is what `tb evaluate` runs, from features in parts of 4,096 to the scores of test rows;
the reference fits float64 rows that are there already, one class after the other. Of its classes only
`--reference-classes`, evenly spread, are fitted: LinearSVC's time is additive over classes, so a value of C counts as
the conversion of the rows (measured by a fit that stops after one iteration, and charged once) plus the number of
classes times the mean of those fitted. An ideal split over the cores divides that by their number. Agreement of the arg
max is over the classes fitted, and so is the metric: on the rows of those classes, by the largest of their scores.
LinearSVC stops at its default tolerance 1e-4; outside the time measured its last machines are fitted once more at 1e-9,
and both sides are held against those as well, which tells whose a disagreement is.

Each side runs in a process of its own, one after the other, so peaks of memory are its own (the rows are a file mapped
into memory; what is read of it counts). The rate of a float32 matrix product is measured beside them: what a Gram
matrix cannot beat. A warm-up compiles our loops outside the time measured. The rows are described in `descriptors.py`;
`--keep` keeps them in a folder for the next run.

    python benchmarks/svm.py --n 15420 --d 12288 --classes 257 --cs 5 --json
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from descriptors import WIDTH, Imaginary

BIAS = 1.0
FOLDS = 5


def values_of_C(count: int) -> list[float]:
    return [float(C) for C in np.logspace(-2, 2, count)]


def make_rows(options: argparse.Namespace, folder: Path) -> Path:
    """Write rows of unit length and their labels, unless they are there."""
    name = "-".join(str(getattr(options, key)) for key in ("n", "d", "classes", "overlap", "seed"))
    path = folder / f"rows-{name}.npy"
    if path.exists():
        return path
    labels, n = labels_of(options), options.n + n_test(options)
    images = Imaginary(labels, options.classes, options.overlap, options.seed)
    rows = np.lib.format.open_memmap(path.with_suffix(".part"), mode="w+", dtype=np.float32, shape=(n, options.d))
    for scale, column in enumerate(range(0, options.d, WIDTH)):
        width = min(WIDTH, options.d - column)
        for start in range(0, n, 512):
            last = min(start + 512, n)
            part = images.rows(0, scale, start, last, width)
            part /= np.linalg.norm(part, axis=1, keepdims=True) * np.sqrt(-(-options.d // WIDTH))
            rows[start:last, column : column + width] = part
    rows.flush()
    path.with_suffix(".part").rename(path)
    return path


def n_test(options: argparse.Namespace) -> int:
    return max(500, options.n // 10)


def labels_of(options: argparse.Namespace) -> np.ndarray:
    n = options.n + n_test(options)
    return np.random.default_rng([options.seed, 9]).permutation(np.arange(n) % options.classes)


def held_out(options: argparse.Namespace) -> np.ndarray:
    """Every fifth image of a class."""
    labels = labels_of(options)[: options.n]
    order = np.argsort(labels, kind="stable")
    rank = np.empty(options.n, dtype=np.int64)
    rank[order] = np.arange(options.n)
    return rank % FOLDS == FOLDS - 1


def subset(options: argparse.Namespace) -> list[int]:
    count = min(options.reference_classes, options.classes)
    return [int(k) for k in np.linspace(0, options.classes - 1, count).round()]


def objective(rows: np.ndarray, signs: np.ndarray, coef: np.ndarray, intercept: float, C: float, loss: str) -> float:
    """LIBLINEAR's objective, rows in blocks, summed in float64."""
    losses, power = 0.0, 2 if loss == "squared_hinge" else 1
    for start in range(0, len(rows), 1024):
        f = rows[start : start + 1024].astype(np.float64) @ coef + intercept
        losses += (np.maximum(0, 1 - signs[start : start + 1024] * f) ** power).sum()
    return float(0.5 * (coef @ coef + (intercept / BIAS) ** 2) + C * losses)


def recall(scores: np.ndarray, truth: np.ndarray) -> float:
    found = scores.argmax(axis=1)
    return float(np.mean([(found[truth == k] == k).mean() for k in np.unique(truth)]))


def recall_among(scores: np.ndarray, truth: np.ndarray, classes: list[int]) -> float:
    """Mean class recall on the rows of some classes, as if there were no others; scores are of those classes."""
    mine = np.isin(truth, classes)
    return recall(scores[mine], np.searchsorted(classes, truth[mine]))


def features_of(rows: np.ndarray, ids: tuple[str, ...]):
    """Rows in a file as what `tb evaluate` reads from its cache: parts of 4,096 columns, 256 rows at a time."""
    from transferbench.evaluation.aggregate import FeatureParts, Source

    def source(first: int) -> Source:
        def chunks() -> Iterator[np.ndarray]:
            return (np.array(rows[s : s + 256, first : first + WIDTH]) for s in range(0, len(rows), 256))

        return Source(f"columns {first} and up", ids, chunks)

    return FeatureParts([[source(first) for first in range(0, rows.shape[1], WIDTH)]], None, "none")


def ours(options: argparse.Namespace) -> dict:
    from transferbench.evaluation.protocol import choose_C
    from transferbench.evaluation.svm.solvers import make_solver
    from transferbench.evaluation.targets import one_vs_rest
    from transferbench.types.split import Split

    warm_up(options)
    rate = product_rate()
    rows = np.load(options.rows, mmap_mode="r")
    labels, out = labels_of(options), held_out(options)
    ids = tuple(f"{i:06d}" for i in range(len(rows)))
    train = range(options.n)
    split = Split(
        name="1",
        fit=tuple(ids[i] for i in train if not out[i]),
        validation=tuple(ids[i] for i in train if out[i]),
        test=ids[options.n :],
    )
    numbers = {i: int(k) for i, k in zip(ids, labels, strict=True)}

    def targets(chosen: tuple[str, ...]) -> np.ndarray:
        return one_vs_rest(np.array([numbers[i] for i in chosen]), options.classes)

    found: dict = {"sgemm_gflops": round(rate / 1e9, 1)}
    begin = time.perf_counter()
    prepared = make_solver(options.solver, options.loss).prepare(features_of(rows, ids), [split])
    found["way"] = prepared._choose(0, options.classes)  # noqa: SLF001 - as the next
    prepared._problem(0, options.classes, choosing=found["way"] == "rows")  # noqa: SLF001 - to tell its seconds apart
    found["features_seconds"] = time.perf_counter() - begin
    if found["way"] == "gram":
        found["gram_seconds_at_sgemm_rate"] = options.n**2 * options.d / rate
    start = time.perf_counter()
    by_C = list(prepared.path(0, targets(split.fit), values_of_C(options.cs)))
    found["path_seconds"] = time.perf_counter() - start
    kept = {C: prepared._found[0, C] for C in values_of_C(options.cs)}  # noqa: SLF001
    truth = np.array([numbers[i] for i in split.validation])
    validation = {C: recall(scores, truth) for C, scores in zip(values_of_C(options.cs), by_C, strict=True)}
    C = choose_C(validation)
    among = subset(options)
    if among:
        found["validation_of_fitted"] = {
            f"{C:g}": recall_among(scores[:, among], truth, among)
            for C, scores in zip(values_of_C(options.cs), by_C, strict=True)
        }
    start = time.perf_counter()
    prepared.train(0, targets(split.train), C)
    found["refit_seconds"] = time.perf_counter() - start
    fitted_on, coefficients = prepared._machines[0]  # noqa: SLF001
    start = time.perf_counter()
    test = prepared.test_scores()[0]
    found["test_seconds"] = time.perf_counter() - start
    found["seconds"] = time.perf_counter() - begin
    found["peak_GiB"] = peak()
    found["C"], found["validation"] = C, {f"{C:g}": value for C, value in validation.items()}
    found["test_recall"] = recall(test, labels[options.n :])

    # What the reference is compared with, outside the time measured.
    def in_order(fitted: tuple[str, ...], b: np.ndarray) -> np.ndarray:
        result = np.zeros((len(b), options.n), b.dtype)
        result[:, [int(i) for i in fitted]] = b
        return result

    coefficients = in_order(fitted_on, coefficients)
    found["objectives"] = {
        f"{C:g}": [_dual_objective(options, rows, ~out, b[k], k, C) for k in subset(options)]
        for C, b in ((C, in_order(*of_C)) for C, of_C in kept.items())
    }
    everything = np.ones(options.n, dtype=bool)
    found["refit_objectives"] = [
        _dual_objective(options, rows, everything, coefficients[k], k, C) for k in subset(options)
    ]
    np.save(options.decisions, test[:, subset(options)])
    return found


def _dual_objective(options, rows, used, b, k, C) -> float:
    rows, signs = rows[: options.n], np.where(labels_of(options)[: options.n] == k, 1, -1)
    coef = np.zeros(rows.shape[1])
    for start in range(0, len(rows), 1024):
        coef += b[start : start + 1024].astype(np.float64) @ rows[start : start + 1024].astype(np.float64)
    intercept = BIAS**2 * float(b.sum(dtype=np.float64))
    return objective(rows[used], signs[used], coef, intercept, C, options.loss)


def reference(options: argparse.Namespace) -> dict:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = np.load(options.rows, mmap_mode="r")
    labels, out = labels_of(options), held_out(options)
    start = time.perf_counter()
    double = np.asarray(rows[: options.n]).astype(np.float64)
    found: dict = {"cast_seconds": time.perf_counter() - start, "by_C": [], "objectives": {}}
    settings = {"random_state": 0, "tol": 1e-4, "intercept_scaling": BIAS, "loss": options.loss}

    def fit(X: np.ndarray, numbers: np.ndarray, C: float) -> tuple[list, float, list[float]]:
        start = time.perf_counter()
        LinearSVC(C=C, max_iter=1, **settings).fit(X, numbers == 0)
        conversion = time.perf_counter() - start
        machines, solves = [], []
        for k in subset(options):
            start = time.perf_counter()
            machines.append(LinearSVC(C=C, max_iter=100_000, **settings).fit(X, np.where(numbers == k, 1, -1)))
            solves.append(max(0.0, time.perf_counter() - start - conversion))
        return machines, conversion, solves

    def values(machines: list, used: np.ndarray, C: float) -> list[float]:
        return [
            objective(
                rows[: options.n][used],
                np.where(labels[: options.n] == k, 1, -1)[used],
                machine.coef_[0],
                machine.intercept_[0],
                C,
                options.loss,
            )
            for k, machine in zip(subset(options), machines, strict=True)
        ]

    def seconds(conversion: float, solves: list[float]) -> float:
        return conversion + options.classes * float(np.mean(solves))

    numbers, fitted = labels[: options.n], double[~out]
    validation, among, truth = {}, {}, numbers[out]
    for C in values_of_C(options.cs):
        machines, conversion, solves = fit(fitted, numbers[~out], C)
        found["by_C"].append(
            {"C": C, "seconds": seconds(conversion, solves), "conversion": conversion, "per_class": solves}
        )
        found["objectives"][f"{C:g}"] = values(machines, ~out, C)
        scores = np.stack([machine.decision_function(double[out]) for machine in machines], axis=1)
        among[f"{C:g}"] = recall_among(scores, truth, subset(options))
        if complete(options):
            validation[f"{C:g}"] = recall(scores, truth)
    del fitted
    machines, conversion, solves = fit(double, numbers, options.C)
    found["refit_seconds"] = seconds(conversion, solves)
    found["seconds"] = found["cast_seconds"] + sum(r["seconds"] for r in found["by_C"]) + found["refit_seconds"]
    found["peak_GiB"] = peak()
    found["refit_objectives"] = values(machines, np.ones(options.n, dtype=bool), options.C)
    test = np.asarray(rows[options.n :]).astype(np.float64)
    scores = np.stack([machine.decision_function(test) for machine in machines], axis=1)
    found["validation"] = validation or None
    found["test_recall"] = recall(scores, labels[options.n :]) if complete(options) else None
    found["validation_of_fitted"] = among
    settings["tol"] = 1e-9
    tight = [
        LinearSVC(C=options.C, max_iter=1_000_000, **settings).fit(double, np.where(numbers == k, 1, -1))
        for k in subset(options)
    ]
    found["tight_objectives"] = values(tight, np.ones(options.n, dtype=bool), options.C)
    np.save(options.decisions, [scores, np.stack([machine.decision_function(test) for machine in tight], axis=1)])
    return found


def complete(options: argparse.Namespace) -> bool:
    return options.reference_classes >= options.classes


def warm_up(options: argparse.Namespace) -> None:
    """Compile, so that a first run is not charged for it."""
    from transferbench.evaluation.svm.descent import Descent
    from transferbench.evaluation.svm.gram import gram_of_rows
    from transferbench.evaluation.svm.operators import GramOperator

    rng = np.random.default_rng(0)
    rows = np.abs(rng.standard_normal((700, 32))).astype(np.float32)
    gram_of_rows(rows, BIAS)
    signs = np.where(np.arange(700) % 3 == np.arange(3)[:, None], 1, -1).astype(np.int8)
    for limit, dtype, certified in ((w, t, c) for w in (0, 700) for t in (np.float32, np.float64) for c in (0, 1)):
        operator = GramOperator((rows @ rows.T + 1).astype(dtype))
        operator.direct_up_to = operator.direct_up_to_if_slow = limit
        descent = Descent(operator, signs, options.loss, certified=bool(certified))
        for C in (0.01, 0.1):
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


KEPT = ("n", "d", "classes", "cs", "reference_classes", "overlap", "seed", "solver", "loss")


def side(role: str, options: argparse.Namespace, folder: str, rows: Path, C: float) -> tuple[dict, np.ndarray]:
    """Run one side in a process of its own."""
    path = f"{folder}/{role}.npy"
    arguments = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in KEPT]
    done = subprocess.run(
        [sys.executable, __file__, f"--role={role}", f"--decisions={path}", f"--rows={rows}", f"--C={C}", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout), np.load(path)


def compare(options: argparse.Namespace) -> dict:
    from transferbench.environment import cores, describe

    with tempfile.TemporaryDirectory() as folder:
        rows = make_rows(options, Path(options.keep or folder))
        mine, my_scores = side("ours", options, folder, rows, 0.0)
        if not options.reference_classes:
            return {"machine": describe(), "shape": {name: getattr(options, name) for name in KEPT}, "ours": mine}
        other, (other_scores, tight_scores) = side("reference", options, folder, rows, mine["C"])
    pairs = [(mine["objectives"][C], values) for C, values in other["objectives"].items()]
    pairs.append((mine["refit_objectives"], other["refit_objectives"]))
    excess = [(a - b) / b for ours_, theirs in pairs for a, b in zip(ours_, theirs, strict=True)]
    return {
        "machine": {**describe(), "processor": platform.processor() or platform.machine()},
        "shape": {name: getattr(options, name) for name in KEPT},
        "ours": mine,
        "LinearSVC": {**other, "scaled_from_classes": len(subset(options))},
        "ratio_to_plain_LinearSVC": other["seconds"] / mine["seconds"],
        "ratio_to_LinearSVC_split_ideally_over_the_cores": other["seconds"] / mine["seconds"] / cores(),
        "largest_relative_objective_excess": max(excess),
        "largest_relative_objective_excess_of_the_refit": max(
            (a - b) / b for a, b in zip(mine["refit_objectives"], other["refit_objectives"], strict=True)
        ),
        "largest_relative_objective_excess_over_tight_LinearSVC": max(
            (a - b) / b for a, b in zip(mine["refit_objectives"], other["tight_objectives"], strict=True)
        ),
        "the_same_of_LinearSVC": max(
            (a - b) / b for a, b in zip(other["refit_objectives"], other["tight_objectives"], strict=True)
        ),
        "argmax_agreement": agreement(my_scores, other_scores),
        "argmax_agreement_with_tight_LinearSVC": agreement(my_scores, tight_scores),
        "argmax_agreement_of_LinearSVC_with_tight": agreement(other_scores, tight_scores),
        "sign_agreement": float((np.sign(my_scores) == np.sign(other_scores)).mean()),
        "metric_difference_of_fitted": recall_among(my_scores, labels_of(options)[options.n :], subset(options))
        - recall_among(other_scores, labels_of(options)[options.n :], subset(options)),
        "same_C_of_fitted": _best(mine["validation_of_fitted"]) == _best(other["validation_of_fitted"]),
        "metric_difference": mine["test_recall"] - other["test_recall"] if complete(options) else None,
        "same_C": _best(mine["validation"]) == _best(other["validation"]) if other["validation"] else None,
    }


def agreement(scores: np.ndarray, others: np.ndarray) -> float:
    return float((scores.argmax(1) == others.argmax(1)).mean())


def _best(validation: dict[str, float]) -> float:
    from transferbench.evaluation.protocol import choose_C

    return choose_C({float(C): value for C, value in validation.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1500, help="training rows")
    parser.add_argument("--d", type=int, default=4096, help="features, in parts of 4,096")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--cs", type=int, default=5, help="values of C, from 0.01 to 100")
    parser.add_argument("--reference-classes", type=int, default=3, help="how many LinearSVC really fits; 0: none")
    parser.add_argument("--solver", choices=("auto", "gram", "rows"), default="auto", help="auto: by shape")
    parser.add_argument("--loss", choices=("squared_hinge", "hinge"), default="squared_hinge")
    parser.add_argument("--overlap", type=float, default=3.3, help="of the classes: larger is harder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="folder to keep the rows in")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--role", choices=("ours", "reference"), help=argparse.SUPPRESS)
    parser.add_argument("--decisions", help=argparse.SUPPRESS)
    parser.add_argument("--rows", help=argparse.SUPPRESS)
    parser.add_argument("--C", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        print(json.dumps((ours if options.role == "ours" else reference)(options)))
        return
    found = compare(options)
    if options.json or not options.reference_classes:
        print(json.dumps(found, indent=1))
        return
    tell(options, found)


def tell(options: argparse.Namespace, found: dict) -> None:
    mine, other = found["ours"], found["LinearSVC"]
    print(f"{options.n} x {options.d}, {options.classes} classes, {options.cs} values of C and a refit")
    print(f"ours       {mine['seconds']:8.1f} s  {mine['peak_GiB']:.1f} GiB, by {mine['way']}: ", end="")
    if mine["way"] == "gram":
        print(f"Gram matrix {mine['features_seconds']:.1f} s", end=" ")
        print(f"({mine['gram_seconds_at_sgemm_rate']:.1f} s at the rate of a matrix product),")
    else:
        print(f"reading rows {mine['features_seconds']:.1f} s,")
    print(f"           path {mine['path_seconds']:.1f} s, refit {mine['refit_seconds']:.1f} s,", end=" ")
    print(f"test {mine['test_seconds']:.1f} s")
    scaled = other["scaled_from_classes"]
    print(
        f"LinearSVC  {other['seconds']:8.1f} s  {other['peak_GiB']:.1f} GiB, from {scaled} of {options.classes} classes"
    )
    print(f"ratio {found['ratio_to_plain_LinearSVC']:.1f}, to an ideal split over the cores", end=" ")
    print(f"{found['ratio_to_LinearSVC_split_ideally_over_the_cores']:.1f}")
    print(f"largest relative excess of our objective {found['largest_relative_objective_excess']:.1e},", end=" ")
    print(f"of the refit {found['largest_relative_objective_excess_of_the_refit']:.1e}")
    print(f"arg max agrees in {found['argmax_agreement']:.4%}, signs in {found['sign_agreement']:.4%};", end=" ")
    print(f"with LinearSVC at 1e-9 ours in {found['argmax_agreement_with_tight_LinearSVC']:.4%},", end=" ")
    print(f"LinearSVC's at 1e-4 in {found['argmax_agreement_of_LinearSVC_with_tight']:.4%}")
    print(f"over the classes fitted: metric difference {found['metric_difference_of_fitted']:+.5f},", end=" ")
    print(f"the same C chosen: {found['same_C_of_fitted']}")
    print(
        f"C {mine['C']:g}, the same as LinearSVC's: {found['same_C']}; metric difference {found['metric_difference']}"
    )
    print(f"validation {mine['validation']}, test {mine['test_recall']:.4f}")


if __name__ == "__main__":
    main()
