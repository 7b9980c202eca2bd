"""What the protocol sees of the SVMs: one seam, with our solver and the reference behind it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.aggregate import FeatureParts
from transferbench.evaluation.svm.choice import Way, choose, memory_of_machine
from transferbench.evaluation.svm.descent import PATH_TOLERANCES, TOLERANCES, Descent, warn_of_gaps
from transferbench.evaluation.svm.gram import gram_matrix, scores_of_tests, sub_matrix, working_type
from transferbench.evaluation.svm.gram_store import GramStore
from transferbench.evaluation.svm.liblinear import Liblinear
from transferbench.evaluation.svm.objective import Loss, Targets
from transferbench.evaluation.svm.operators import GramOperator, Matrix, Operator, RowsOperator
from transferbench.recipe.transfer import SolverName
from transferbench.types.arrays import Float32, Float64
from transferbench.types.split import Split

_BIAS = 1.0
_SEED = 2015
_ROWS_IN_MEMORY_PART = 0.3


class Prepared(Protocol):
    """A solver with one variant's features, for all splits."""

    def path(self, split: int, targets: Targets, Cs: Sequence[float]) -> Float64:
        """Fit on `Split.fit` with (n, K) targets; return (len(Cs), m, K) scores of `Split.validation`."""

    def train(self, split: int, targets: Targets, C: float) -> None:
        """Fit on `Split.train` with (n, K) targets, and remember."""

    def machine(self, split: int) -> dict[str, NDArray[Any]]:
        """Return what `train` has fitted, so that it can be kept and given back to `restore`."""

    def restore(self, split: int, machine: Mapping[str, NDArray[Any]]) -> None:
        """Take what an interrupted evaluation kept instead of fitting again: scores are the same to the last bit."""

    def test_scores(self) -> list[Float64]:
        """Return the (m, K) scores of every split's `Split.test` by what `train` has fitted."""


class Solver(Protocol):
    """Fits one-vs-rest SVMs with LIBLINEAR's objective. Its `name` says everything that can change a score."""

    name: str

    def prepare(self, features: FeatureParts, splits: Sequence[Split]) -> Prepared:
        """Do once for a variant what all splits, classes and values of C share."""


def make_solver(name: SolverName, loss: Loss, grams: GramStore | None = None) -> Solver:
    """Make a solver.

    Parameters
    ----------
    name : {"auto", "gram", "rows", "liblinear"}
        ``liblinear`` is the reference; the others differ in how they get to the same optimum, and ``auto`` chooses by
        shape.
    loss : {"squared_hinge", "hinge"}
        Of a margin violation.
    grams : GramStore, optional
        Where Gram matrices are kept for other recipes.

    Returns
    -------
    Solver
        Ready to prepare. One solver may serve several recipes: what they share is done once.
    """
    return Liblinear(loss) if name == "liblinear" else DualDescent(loss, name, grams)


class DualDescent:
    """All classes, values of C and splits at once; certified by the duality gap.

    Parameters
    ----------
    loss : {"squared_hinge", "hinge"}
        Of a margin violation.
    way : {"auto", "gram", "rows"}
        Not part of the name: the optimum is the same.
    grams : GramStore, optional
        Where Gram matrices are kept for other recipes.
    """

    def __init__(
        self, loss: Loss, way: Literal["auto", "gram", "rows"] = "auto", grams: GramStore | None = None
    ) -> None:
        gaps = ", ".join(
            f"{' or '.join(f'{t:g}' for t in sorted(set(tolerances.values())))} {use}"
            for use, tolerances in (("to test", TOLERANCES), ("to choose C", PATH_TOLERANCES))
        )
        self.name = f"descent {loss}, relative duality gap {gaps}"
        self._loss: Loss = loss
        self._way = way
        self._grams = grams

    def prepare(self, features: FeatureParts, splits: Sequence[Split]) -> "DescentOnFeatures":
        """Choose the way; see `Solver.prepare`."""
        return DescentOnFeatures(features, splits, self._loss, self._way, self._grams)


class DescentOnFeatures:
    """Our solver with its features; see `Prepared`.

    Parameters
    ----------
    features : FeatureParts
        Of all images.
    splits : sequence of Split
        Of the protocol.
    loss : {"squared_hinge", "hinge"}
        Of a margin violation.
    way : {"auto", "gram", "rows"}
        How to multiply by the Gram matrix.
    grams : GramStore, optional
        Where Gram matrices are kept for other recipes.
    """

    def __init__(
        self,
        features: FeatureParts,
        splits: Sequence[Split],
        loss: Loss,
        way: Literal["auto", "gram", "rows"],
        grams: GramStore | None = None,
    ) -> None:
        self._features = features
        self._splits = splits
        self._loss: Loss = loss
        self._way = way
        self._grams = grams
        self._shared: tuple[tuple[str, ...], Matrix] | None = None
        self._current: tuple[int, tuple[str, ...], Operator] | None = None
        self._found: dict[tuple[int, float], Float64] = {}
        self._machines: dict[int, tuple[tuple[str, ...], Float64]] = {}

    def path(self, split: int, targets: Targets, Cs: Sequence[float]) -> Float64:
        """Fit from the smallest C to the largest, each from the last; see `Prepared.path`."""
        here = self._splits[split]
        ids, operator = self._operator(split, targets.shape[1])
        # Validation images are part of the matrix with target 0: nothing is fitted to them, but they are scored.
        tolerance = PATH_TOLERANCES[operator.dtype]
        signs = _signs(ids, here.fit, targets)
        descent = Descent(operator, signs, self._loss, tolerance=tolerance, certified=False)
        row_of = {image_id: row for row, image_id in enumerate(ids)}
        validation = [row_of[i] for i in here.validation]
        scores = np.empty((len(Cs), len(validation), targets.shape[1]))
        for number in np.argsort(Cs, kind="stable"):
            descent.solve(Cs[number])
            warn_of_gaps(descent.gaps, descent.tolerance, f"C={Cs[number]:g}, split {here.name}")
            scores[number] = descent.scores[:, validation].T
            self._found[split, Cs[number]] = descent.coefficients.astype(np.float32)
        return scores

    def train(self, split: int, targets: Targets, C: float) -> None:
        """Go on from the solution for this C without the validation images; see `Prepared.train`."""
        here = self._splits[split]
        ids, operator = self._operator(split, targets.shape[1])
        descent = Descent(operator, _signs(ids, here.train, targets), self._loss)
        if (split, C) in self._found:
            descent.start_from(self._found[split, C].astype(np.float64))
        descent.solve(C)
        warn_of_gaps(descent.gaps, descent.tolerance, f"C={C:g}, split {here.name}, all training images")
        self._machines[split] = (ids, descent.coefficients)
        self._found = {key: value for key, value in self._found.items() if key[0] != split}

    def machine(self, split: int) -> dict[str, NDArray[Any]]:
        """Return coefficients and whose they are; see `Prepared.machine`."""
        ids, coefficients = self._machines[split]
        return {"coefficients": coefficients, "ids": np.frombuffer(json.dumps(ids).encode(), dtype=np.uint8)}

    def restore(self, split: int, machine: Mapping[str, NDArray[Any]]) -> None:
        """Take coefficients; see `Prepared.restore`."""
        self._machines[split] = (tuple(json.loads(machine["ids"].tobytes())), machine["coefficients"])

    def test_scores(self) -> list[Float64]:
        """Score all splits in one or two readings of the features; see `Prepared.test_scores`."""
        self._shared = self._current = None
        machines = [self._machines[split] for split in range(len(self._splits))]
        return scores_of_tests(self._features, machines, [split.test for split in self._splits], _BIAS)

    def _operator(self, split: int, n_classes: int) -> tuple[tuple[str, ...], Operator]:
        if self._current is None or self._current[0] != split:
            self._current = None
            ids, operator = self._gram(split) if self._choose(split, n_classes) == "gram" else self._rows(split)
            self._current = (split, ids, operator)
        return self._current[1], self._current[2]

    def _choose(self, split: int, n_classes: int) -> Way:
        if self._way != "auto":
            return self._way
        return choose(len(self._splits[split].train), self._features.dimensions, n_classes).way

    def _gram(self, split: int) -> tuple[tuple[str, ...], Operator]:
        """Cut the split's matrix out of that of all splits' training images, if there is room for both."""
        train = self._splits[split].train
        everyone = sorted({i for s in self._splits for i in s.train})
        if 4 * (len(everyone) ** 2 + len(train) ** 2) > 0.5 * memory_of_machine():
            ids = _mixed(train)
            return ids, GramOperator(gram_matrix(self._features, ids, _BIAS, self._grams))
        if self._shared is None:
            ids = _mixed(everyone)
            self._shared = (ids, gram_matrix(self._features, ids, _BIAS, self._grams))
        everyone_mixed, gram = self._shared
        mine = set(train)
        rows = np.array([row for row, i in enumerate(everyone_mixed) if i in mine], dtype=np.int64)
        return tuple(everyone_mixed[row] for row in rows), GramOperator(sub_matrix(gram, rows))

    def _rows(self, split: int) -> tuple[tuple[str, ...], Operator]:
        mine = set(self._splits[split].train)
        ids = tuple(i for i in self._features.ids if i in mine)
        blocks = _blocks_of(self._features, mine)
        if 4 * len(ids) * self._features.dimensions <= _ROWS_IN_MEMORY_PART * memory_of_machine():
            kept, start = np.empty((len(ids), self._features.dimensions), np.float32), 0
            for block in blocks():
                kept[start : start + len(block)] = block
                start += len(block)
            return ids, RowsOperator.of(kept, _BIAS, working_type(len(ids)))
        return ids, RowsOperator(blocks, len(ids), _BIAS, working_type(len(ids)))


def _blocks_of(features: FeatureParts, chosen: set[str]) -> Callable[[], Iterator[Float32]]:
    mask = np.array([i in chosen for i in features.ids])

    def blocks() -> Iterator[Float32]:
        start = 0
        for chunk in features.chunks():
            wanted = mask[start : start + len(chunk)]
            start += len(chunk)
            if wanted.any():
                yield chunk[wanted]

    return blocks


def _mixed(ids: Sequence[str]) -> tuple[str, ...]:
    """Shuffle, always alike: neighbours in a sorted list are often of one class."""
    order = np.random.default_rng(_SEED).permutation(len(ids))
    return tuple(ids[row] for row in order)


def _signs(ids: Sequence[str], fitted: Sequence[str], targets: Targets) -> Targets:
    """Arrange (n, K) targets of the fitted images as (K, N) signs of all images, 0 for the others."""
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    signs = np.zeros((targets.shape[1], len(ids)), dtype=np.int8)
    signs[:, [row_of[i] for i in fitted]] = targets.T
    return signs
