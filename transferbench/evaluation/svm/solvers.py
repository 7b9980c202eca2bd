"""What the protocol sees of the SVMs: one seam, with our solver and the reference behind it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from transferbench.evaluation.aggregate import FeatureParts
from transferbench.evaluation.svm.descent import PATH_TOLERANCES, TOLERANCES
from transferbench.evaluation.svm.gram_store import GramStore
from transferbench.evaluation.svm.liblinear import Liblinear
from transferbench.evaluation.svm.objective import Loss, Targets
from transferbench.evaluation.svm.on_features import DescentOnFeatures
from transferbench.recipe.transfer import SolverName
from transferbench.types.arrays import Float64
from transferbench.types.split import Split


class Prepared(Protocol):
    """A solver with one variant's features, for all splits."""

    def path(self, split: int, targets: Targets, Cs: Sequence[float]) -> Iterator[Float64]:
        """Fit on `Split.fit` with (n, K) targets; yield (m, K) scores of `Split.validation` for one C after the other.

        `Cs` ascend. After `restore_path` they are those that were not done before.
        """

    def path_state(self, split: int) -> dict[str, NDArray[Any]]:
        """Return all that the rest of `path`, and `train`, depend on. The arrays change when `path` goes on."""

    def restore_path(self, split: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Take the state of an interrupted path: `path` and `train` then give the same to the last bit."""

    def train(self, split: int, targets: Targets, C: float) -> None:
        """Fit on `Split.train` with (n, K) targets, and remember."""

    def machine(self, split: int) -> dict[str, NDArray[Any]]:
        """Return what `train` has fitted, so that it can be kept and given back to `restore`."""

    def restore(self, split: int, machine: Mapping[str, NDArray[Any]]) -> None:
        """Take what an interrupted evaluation kept instead of fitting again: scores are the same to the last bit."""

    def test_scores(self) -> list[Float64]:
        """Return the (m, K) scores of every split's `Split.test` by what `train` has fitted."""


class Solver(Protocol):
    """Fits one-vs-rest SVMs with LIBLINEAR's objective.

    Its `name` says everything that can change a score, its `way` what may change the last bits of one.
    """

    name: str
    way: str

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
        self.way: str = way
        self._way = way
        self._loss: Loss = loss
        self._grams = grams

    def prepare(self, features: FeatureParts, splits: Sequence[Split]) -> DescentOnFeatures:
        """Choose the way; see `Solver.prepare`."""
        return DescentOnFeatures(features, splits, self._loss, self._way, self._grams)
