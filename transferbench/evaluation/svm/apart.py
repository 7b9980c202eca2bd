"""Splits that share nothing, so that each may be fitted by another machine: what is left of one is its test scores."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.aggregate import FeatureParts
from transferbench.evaluation.svm.objective import Targets
from transferbench.evaluation.svm.solvers import Prepared, Solver
from transferbench.types.arrays import Float64
from transferbench.types.split import Split

_SCORES = "scores"


class Apart:
    """A solver that prepares every split as if it were the only one.

    Its optima are those of the solver itself. The last bits of a score are not: a Gram matrix of one split's images
    alone has another order of rows, which its `way` says.

    Parameters
    ----------
    solver : Solver
        Fits the SVMs.
    """

    def __init__(self, solver: Solver) -> None:
        self.name: str = solver.name
        self.way: str = f"{solver.way}, splits apart"
        self._solver = solver

    def prepare(self, features: FeatureParts, splits: Sequence[Split]) -> "ApartOnFeatures":
        """Do nothing before a split is fitted; see `Solver.prepare`."""
        return ApartOnFeatures(self._solver, features, splits)


class ApartOnFeatures:
    """One split after the other, each with a solver of its own; see `Prepared`.

    Parameters
    ----------
    solver : Solver
        Fits the SVMs.
    features : FeatureParts
        Of all images.
    splits : sequence of Split
        Of the protocol.
    """

    def __init__(self, solver: Solver, features: FeatureParts, splits: Sequence[Split]) -> None:
        self._solver = solver
        self._features = features
        self._splits = splits
        self._current: tuple[int, Prepared] | None = None
        self._scores: dict[int, Float64] = {}

    def path(self, split: int, targets: Targets, Cs: Sequence[float]) -> Iterator[Float64]:
        """Fit on `Split.fit`, score `Split.validation`; see `Prepared.path`."""
        return self._alone(split).path(0, targets, Cs)

    def path_state(self, split: int) -> dict[str, NDArray[Any]]:
        """Return the state of the split's own solver; see `Prepared.path_state`."""
        return self._alone(split).path_state(0)

    def restore_path(self, split: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Give a state back to the split's own solver; see `Prepared.restore_path`."""
        self._alone(split).restore_path(0, state)

    def train(self, split: int, targets: Targets, C: float) -> None:
        """Fit on `Split.train` and score `Split.test`, for the features are at hand here; see `Prepared.train`."""
        alone = self._alone(split)
        alone.train(0, targets, C)
        (self._scores[split],) = alone.test_scores()
        self._current = None

    def machine(self, split: int) -> dict[str, NDArray[Any]]:
        """Return the test scores, which is all that is left to ask; see `Prepared.machine`."""
        return {_SCORES: self._scores[split]}

    def restore(self, split: int, machine: Mapping[str, NDArray[Any]]) -> None:
        """Take test scores; see `Prepared.restore`."""
        self._scores[split] = np.asarray(machine[_SCORES], dtype=np.float64)

    def test_scores(self) -> list[Float64]:
        """Return the scores of the test images; see `Prepared.test_scores`."""
        return [self._scores[split] for split in range(len(self._splits))]

    def _alone(self, split: int) -> Prepared:
        """Prepare one split; what was prepared for another makes room before."""
        if self._current is None or self._current[0] != split:
            self._current = None
            self._current = (split, self._solver.prepare(self._features, [self._splits[split]]))
        return self._current[1]
