"""Our solver with the features of a variant: the problem of every split, cut out of a Gram matrix or read by rows."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.aggregate import FeatureParts
from transferbench.evaluation.svm.choice import Way, choose, memory_of_machine
from transferbench.evaluation.svm.costs import ROWS_IN_MEMORY_PART
from transferbench.evaluation.svm.descent import PATH_TOLERANCES, Descent, warn_of_gaps
from transferbench.evaluation.svm.gram import cut, gram_matrix, sub_matrix, working_type
from transferbench.evaluation.svm.gram_store import GramStore
from transferbench.evaluation.svm.objective import Loss, Targets
from transferbench.evaluation.svm.operators import GramOperator, Matrix, Operator
from transferbench.evaluation.svm.rows import RowsOperator
from transferbench.evaluation.svm.scoring import scores_of_tests
from transferbench.types.arrays import Float32, Float64
from transferbench.types.split import Split

_BIAS = 1.0
_SEED = 2015
_FOUND = "found-"
_IDS = "ids"
_GRAMS_IN_MEMORY_PART = 0.5


class DescentOnFeatures:
    """Our solver with its features; see `solvers.Prepared`.

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
        self._whole: _Whole | None = None
        self._current: tuple[tuple[int, bool], _Problem] | None = None
        self._found: dict[tuple[int, float], tuple[tuple[str, ...], Float32]] = {}
        self._descent: Descent | None = None
        self._begun: dict[int, Mapping[str, NDArray[Any]]] = {}
        self._machines: dict[int, tuple[tuple[str, ...], Float64]] = {}

    def path(self, split: int, targets: Targets, Cs: Sequence[float]) -> Iterator[Float64]:
        """Fit from the smallest C to the largest, each from the last; see `solvers.Prepared.path`."""
        if not Cs:
            return
        here = self._splits[split]
        problem = self._problem(split, targets.shape[1], choosing=True)
        signs = _signs(problem.ids, here.fit, targets)
        tolerance = PATH_TOLERANCES[problem.operator.dtype]
        descent = Descent(problem.operator, signs, self._loss, tolerance=tolerance, certified=False)
        if split in self._begun:
            descent.restore(self._begun.pop(split))
        self._descent = descent
        for C in Cs:
            descent.solve(C)
            warn_of_gaps(descent.gaps, descent.tolerance, f"C={C:g}, split {here.name}")
            self._found[split, C] = (problem.ids, descent.coefficients.astype(np.float32))
            if Cs[-1] == C:
                self._descent = None  # nothing goes on from here
            yield problem.validation_scores(descent, here.validation)

    def path_state(self, split: int) -> dict[str, NDArray[Any]]:
        """Return coefficients of every C, whose they are, and the descent; see `solvers.Prepared.path_state`."""
        state: dict[str, NDArray[Any]] = {}
        for (of, C), (ids, coefficients) in self._found.items():
            if of == split:
                state |= {f"{_FOUND}{C!r}": coefficients, _IDS: _as_bytes(ids)}  # the same ids for every C
        return state if self._descent is None else state | self._descent.state()

    def restore_path(self, split: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Take coefficients, and the descent's state until it is needed; see `solvers.Prepared.restore_path`."""
        of_descent = {name: array for name, array in state.items() if name != _IDS and not name.startswith(_FOUND)}
        for name in state.keys() - of_descent.keys() - {_IDS}:
            self._found[split, float(name.removeprefix(_FOUND))] = (_from_bytes(state[_IDS]), state[name])
        if of_descent:
            self._begun[split] = of_descent

    def train(self, split: int, targets: Targets, C: float) -> None:
        """Go on from the solution for this C without the validation images; see `solvers.Prepared.train`."""
        here = self._splits[split]
        problem = self._problem(split, targets.shape[1], choosing=False)
        descent = Descent(problem.operator, _signs(problem.ids, here.train, targets), self._loss)
        if (split, C) in self._found:
            fitted_on, found = self._found[split, C]
            start = np.zeros(descent.coefficients.shape)
            start[:, _rows_of(fitted_on, problem.ids)] = found
            descent.start_from(start)
        descent.solve(C)
        warn_of_gaps(descent.gaps, descent.tolerance, f"C={C:g}, split {here.name}, all training images")
        self._machines[split] = (problem.ids, descent.coefficients)
        self._found = {key: value for key, value in self._found.items() if key[0] != split}

    def machine(self, split: int) -> dict[str, NDArray[Any]]:
        """Return coefficients and whose they are; see `solvers.Prepared.machine`."""
        ids, coefficients = self._machines[split]
        return {"coefficients": coefficients, _IDS: _as_bytes(ids)}

    def restore(self, split: int, machine: Mapping[str, NDArray[Any]]) -> None:
        """Take coefficients; see `solvers.Prepared.restore`."""
        self._machines[split] = (_from_bytes(machine[_IDS]), machine["coefficients"])

    def test_scores(self) -> list[Float64]:
        """Score all splits in one or two readings of the features; see `solvers.Prepared.test_scores`."""
        self._whole = self._current = None
        machines = [self._machines[split] for split in range(len(self._splits))]
        return scores_of_tests(self._features, machines, [split.test for split in self._splits], _BIAS)

    def _problem(self, split: int, n_classes: int, *, choosing: bool) -> "_Problem":
        """Prepare to fit on `Split.fit`, where C is chosen, or on `Split.train`."""
        key = (split, choosing)
        if self._current is None or self._current[0] != key:
            by_gram = self._choose(split, n_classes) == "gram"
            if not by_gram and self._current is not None and self._current[0][0] == split:
                return self._current[1]  # it has the rows of both
            self._current = None
            self._current = (key, self._by_gram(split, choosing=choosing) if by_gram else self._by_rows(split))
        return self._current[1]

    def _choose(self, split: int, n_classes: int) -> Way:
        if self._way != "auto":
            return self._way
        return choose(len(self._splits[split].train), self._features.dimensions, n_classes).way

    def _by_gram(self, split: int, *, choosing: bool) -> "_Problem":
        """Cut the matrix of the images to fit on out of a larger one, if there is room for both."""
        here = self._splits[split]
        if self._whole is None or not self._whole.ids.keys() >= set(here.train):
            self._whole = None
            ids = _mixed(self._everyone() if self._fits(len(self._everyone()), len(here.train)) else here.train)
            rows = {image_id: row for row, image_id in enumerate(ids)}
            self._whole = _Whole(rows, gram_matrix(self._features, ids, _BIAS, self._grams))
        whole = self._whole
        if not choosing:
            return whole.problem(here.train)
        if self._fits(len(whole.ids), len(here.fit)):
            return whole.problem(here.fit, here.validation)
        # Validation images stay in the matrix with target 0: nothing is fitted to them, but they are scored.
        return whole.problem(here.train)

    def _everyone(self) -> list[str]:
        return sorted({i for split in self._splits for i in split.train})

    @staticmethod
    def _fits(*sizes: int) -> bool:
        """Tell whether the Gram matrices of so many images have room side by side."""
        return 4 * sum(n**2 for n in sizes) <= _GRAMS_IN_MEMORY_PART * memory_of_machine()

    def _by_rows(self, split: int) -> "_Problem":
        mine = set(self._splits[split].train)
        ids = tuple(i for i in self._features.ids if i in mine)
        blocks = _blocks_of(self._features, mine)
        if 4 * len(ids) * self._features.dimensions <= ROWS_IN_MEMORY_PART * memory_of_machine():
            kept, start = np.empty((len(ids), self._features.dimensions), np.float32), 0
            for block in blocks():
                kept[start : start + len(block)] = block
                start += len(block)
            return _Problem(ids, RowsOperator.of(kept, _BIAS, working_type(len(ids))))
        return _Problem(ids, RowsOperator(blocks, len(ids), _BIAS, working_type(len(ids))))


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """The images to fit on, perhaps with others, and how to multiply by their Gram matrix.

    `crossing` is the Gram matrix of the validation images, by rows, with those to fit on; None where both are in `ids`.
    """

    ids: tuple[str, ...]
    operator: Operator
    crossing: Matrix | None = None

    def validation_scores(self, descent: Descent, validation: Sequence[str]) -> Float64:
        """Return (m, K) scores of the images that C is chosen on."""
        if self.crossing is None:
            return descent.scores[:, _rows_of(validation, self.ids)].T
        return (self.crossing @ descent.coefficients.T.astype(self.crossing.dtype)).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Whole:
    """A Gram matrix of all images that are trained on, in any split or in one, and the row of each image."""

    ids: dict[str, int]
    gram: Matrix

    def problem(self, fitted: Sequence[str], validation: Sequence[str] = ()) -> _Problem:
        """Cut out the matrix of some images, in the order of the whole, and that of others with them."""
        mine = set(fitted)
        ids = tuple(i for i in self.ids if i in mine)
        rows = np.array([self.ids[i] for i in ids], dtype=np.int64)
        others = np.array([self.ids[i] for i in validation], dtype=np.int64)
        crossing = cut(self.gram, others, rows) if len(others) else None
        return _Problem(ids, GramOperator(sub_matrix(self.gram, rows)), crossing)


def _rows_of(wanted: Sequence[str], ids: Sequence[str]) -> NDArray[np.int64]:
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    return np.array([row_of[i] for i in wanted], dtype=np.int64)


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
    signs = np.zeros((targets.shape[1], len(ids)), dtype=np.int8)
    signs[:, _rows_of(fitted, ids)] = targets.T
    return signs


def _as_bytes(ids: tuple[str, ...]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(ids).encode(), dtype=np.uint8)


def _from_bytes(array: NDArray[Any]) -> tuple[str, ...]:
    return tuple(json.loads(array.tobytes()))
