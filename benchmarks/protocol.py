"""Where the time and the memory of `tb evaluate` go: stage by stage, for Caltech-256's shape or a part of it.

Of a work folder that `caltech256_cache.py` has written, the recipe is evaluated as `tb evaluate` does it, result and
statistics included; `--classes` takes only the first of its classes, up to the scores. Without a folder a small problem
is made up, to see the program work. Peaks of memory are of the whole process, stage by stage, pages of mapped files
included. The rate of a matrix product is measured beside them: it is what the Gram matrix is held against.

    python benchmarks/caltech256_cache.py /tmp/caltech256-shaped
    python benchmarks/protocol.py --home /tmp/caltech256-shaped
"""

import argparse
import json
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isgeneratorfunction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from svm import product_rate, warm_up

from transferbench.data import Dataset


class Stages:
    """Seconds and peak of memory by name, in the order of first use; what happens inside another counts for both."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._open: list[str] = []
        self._top, self._begin = 0.0, time.perf_counter()
        threading.Thread(target=self._watch, daemon=True).start()

    def wrap(self, owner: Any, name: str, stage: str | Callable[..., str]) -> None:
        """Time every call of a function."""
        function = getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Any:
            with self._during(stage if isinstance(stage, str) else stage(*given, **named)):
                return function(*given, **named)

        def timed_steps(*given: Any, **named: Any) -> Iterator[Any]:
            steps, end = function(*given, **named), object()
            while True:
                # What the caller does between two steps is not its time.
                with self._during(stage if isinstance(stage, str) else stage(*given, **named)):
                    found = next(steps, end)
                if found is end:
                    return
                yield found

        setattr(owner, name, timed_steps if isgeneratorfunction(function) else timed)

    @contextmanager
    def _during(self, title: str) -> Iterator[None]:
        self.seconds.setdefault(title, 0.0)
        self._open.append(title)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[title] += time.perf_counter() - start
            self.calls[title] = self.calls.get(title, 0) + 1
            self._note()
            self._open.remove(title)
            now = time.perf_counter()
            print(f"{now - self._begin:8.1f} s  {title:32}{now - start:8.2f} s", file=sys.stderr, flush=True)

    def _watch(self) -> None:
        while True:
            self._note()
            time.sleep(0.02)

    def _note(self) -> None:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**30
        self._top = max(self._top, resident)
        for title in list(self._open):
            self.peak[title] = max(self.peak.get(title, 0.0), resident)

    def table(self) -> dict[str, Any]:
        """Return what was found."""
        rows = {
            title: {"seconds": round(s, 2), "peak_GiB": round(self.peak.get(title, 0), 2), "calls": self.calls[title]}
            for title, s in self.seconds.items()
        }
        return {"stages": rows, "peak_GiB": round(self._top, 2)}


def watched() -> Stages:
    """Time the parts of an evaluation."""
    from transferbench.evaluation.svm import descent, gram, scoring, solvers
    from transferbench.evaluation.svm.gram_store import GramStore
    from transferbench.pipeline import evaluate

    stages = Stages()
    stages.wrap(solvers, "gram_matrix", "Gram matrix, whole")
    stages.wrap(gram, "rows_of_part", "  reading a part's rows")
    stages.wrap(gram, "_add_square", "  product, not kept")
    stages.wrap(gram, "_add_blocks", "  product, kept on disk")
    stages.wrap(GramStore, "add_to", "  matrices from the disk")
    stages.wrap(GramStore, "settle", "  waiting for the disk")
    stages.wrap(gram, "_completed", "  other half")
    stages.wrap(solvers, "sub_matrix", "cutting a split's matrix")
    stages.wrap(solvers, "cut", "  cutting out validation images")

    def solving(machine: Any, C: float) -> str:
        return f"C = {C:g}" if not machine._certified else "all training images"  # noqa: SLF001

    stages.wrap(solvers.DescentOnFeatures, "path", "choosing C")
    stages.wrap(solvers.DescentOnFeatures, "train", "training with the C chosen")
    stages.wrap(descent.Descent, "solve", lambda *given: "  " + solving(*given))
    stages.wrap(solvers, "scores_of_tests", "test scores")
    stages.wrap(scoring, "_add_scores", "  of a part")
    stages.wrap(evaluate, "with_intervals", "statistics")
    stages.wrap(evaluate, "save_result", "writing the result")
    stages.wrap(evaluate, "evaluate_recipe", "all of tb evaluate")
    return stages


def of_home(options: argparse.Namespace) -> dict[str, Any]:
    """Evaluate the folder's recipe, or its first classes."""
    from transferbench.data import open_dataset
    from transferbench.data.place import Place
    from transferbench.home import Home
    from transferbench.pipeline import evaluate
    from transferbench.progress import Silent
    from transferbench.recipe.files import load
    from transferbench.recipe.transfer import Recipe

    home = Home.at(options.home)
    path = str(options.home / "recipe.yaml")
    recipe = load(path, Recipe)
    dataset = open_dataset("caltech256", Place(folder=home.data / "caltech256"))
    if options.classes is None:
        folder, _ = evaluate.evaluate_recipe(path, recipe, dataset, home, progress=Silent())
        found = json.loads((folder / "result.json").read_text())["scores"][0]
        return {"values": [s["value"] for s in found["splits"]], "C": [s["C"] for s in found["splits"]]}
    return part_of(options, recipe, dataset, home)


def part_of(options: argparse.Namespace, recipe: Any, dataset: Dataset, home: Any) -> dict[str, Any]:
    from transferbench.evaluation.aggregate import AGGREGATORS, FeatureParts, Source
    from transferbench.evaluation.svm.gram_store import GramStore
    from transferbench.pipeline.plan import variants

    names = dataset.labels.classes[: options.classes]
    labels = dict(zip(dataset.ids, dataset.labels.of(dataset.ids), strict=True))
    ids = tuple(i for i in dataset.ids if labels[i] < options.classes)
    (layout,) = variants(recipe, dataset, home)

    def source(block: Any) -> Any:
        def chunks() -> Iterator[np.ndarray]:
            for k, shard in enumerate(islice(block.shards(), -(-len(ids) // 256))):
                yield shard.array[: len(ids) - 256 * k]

        return Source(block.spec.key(), ids, chunks, block.spec.key() if options.keep else "")

    assert dataset.ids[: len(ids)] == ids
    nets = [[source(block) for block in part.blocks] for part in layout.parts]
    features = FeatureParts(nets, AGGREGATORS[recipe.aggregate.kind], recipe.aggregate.l2)
    mine = set(ids)
    splits = [within(split, mine) for split in dataset.splits()[: options.splits]]
    return evaluated(features, names, {i: int(labels[i]) for i in ids}, splits, recipe.svm.C, GramStore(home.grams))


def within(split: Any, ids: set[str]) -> Any:
    from transferbench.types.split import Split

    chosen = {part: tuple(i for i in getattr(split, part) if i in ids) for part in ("fit", "validation", "test")}
    return Split(name=split.name, **chosen)


def made_up(options: argparse.Namespace) -> dict[str, Any]:
    """Evaluate a problem of a few seconds."""
    from descriptors import Imaginary

    from transferbench.evaluation.aggregate import AGGREGATORS, FeatureParts, Source
    from transferbench.types.split import Split

    classes = options.classes or 16
    n = 100 * classes
    numbers = np.arange(n) % classes
    images = Imaginary(numbers, classes, 3.3, 0)
    ids = tuple(f"{i:05d}" for i in range(n))

    def source(net: int, scale: int) -> Any:
        rows = [images.rows(net, scale, s, min(s + 256, n), 1024) for s in range(0, n, 256)]

        def chunks() -> Iterator[np.ndarray]:
            return iter(rows)

        return Source(f"net {net}, scale {scale}", ids, chunks)

    features = FeatureParts([[source(net, s) for s in range(3)] for net in range(2)], AGGREGATORS["stack"], "both")
    splits = []
    for number in range(options.splits):
        order = np.random.default_rng(number).permutation(n)
        parts = (order[: 48 * classes], order[48 * classes : 60 * classes], order[60 * classes :])
        fit, validation, test = (tuple(sorted(ids[i] for i in part)) for part in parts)
        splits.append(Split(name=str(number), fit=fit, validation=validation, test=test))
    names = tuple(f"class {k}" for k in range(classes))
    labels = dict(zip(ids, map(int, numbers), strict=True))
    return evaluated(features, names, labels, splits, (0.01, 0.1, 1.0, 10.0, 100.0), None)


def evaluated(features: Any, names: Any, labels: Any, splits: Any, Cs: Any, store: Any) -> dict[str, Any]:
    from transferbench.evaluation.protocol import evaluate
    from transferbench.evaluation.svm.solvers import make_solver
    from transferbench.types.labels import ClassLabels

    solver = make_solver("gram", "squared_hinge", store)
    known = ClassLabels(classes=tuple(names), by_id=labels)
    found = evaluate(features, known, splits, solver, Cs, done=lambda: None)
    shape = {"images": len(features.ids), "classes": len(names), "train": len(splits[0].train), "splits": len(splits)}
    return {**shape, "values": [s.score.value for s in found.splits], "C": [s.C for s in found.splits]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="work folder of caltech256_cache.py")
    parser.add_argument("--classes", type=int, help="take only the first ones")
    parser.add_argument("--splits", type=int, default=3, help="with --classes: how many")
    parser.add_argument("--keep", action="store_true", help="with --classes: keep Gram matrices in the folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    from transferbench.environment import describe

    warm_up()
    rate = product_rate()
    stages = watched()
    begin = time.perf_counter()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = made_up(options) if options.home is None else of_home(options)
    report = {"machine": {**describe(), "sgemm_gflops": round(rate / 1e9, 1)}, **found}
    report |= {"seconds": round(time.perf_counter() - begin, 1), **stages.table()}
    report["warnings"] = sorted({str(one.message) for one in told})
    if options.json:
        print(json.dumps(report, indent=1))
        return
    print(f"{report['machine']}\n{found}")
    for title, row in report["stages"].items():
        print(f"{title:32}{row['seconds']:9.2f} s {row['peak_GiB']:7.2f} GiB {row['calls']:5} x")
    print(f"{'whole':32}{report['seconds']:9.2f} s {report['peak_GiB']:7.2f} GiB")
    sys.stdout.writelines(f"warning: {one}\n" for one in report["warnings"])


if __name__ == "__main__":
    main()
