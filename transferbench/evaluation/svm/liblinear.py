"""The reference: scikit-learn's `LinearSVC`, one class and one value of C at a time."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from transferbench.evaluation.aggregate import FeatureParts
from transferbench.evaluation.svm.objective import Loss, Targets
from transferbench.types.arrays import Float32, Float64
from transferbench.types.descriptors import Features
from transferbench.types.split import Split

MAX_ITERATIONS = 100_000
TOLERANCE = 1e-4


class Liblinear:
    """Fits every class by LIBLINEAR: L2-regularised, the bias regularised too.

    Parameters
    ----------
    loss : {"squared_hinge", "hinge"}
        Of a margin violation.
    seed : int, default 0
        Order in which LIBLINEAR's dual solver visits rows.

    References
    ----------
    Fan et al. (2008), LIBLINEAR: a library for large linear classification, JMLR 9.
    """

    def __init__(self, loss: Loss, seed: int = 0) -> None:
        self.name = f"liblinear {loss}, tolerance {TOLERANCE:g}"
        self.way: str = "liblinear"
        self._loss: Loss = loss
        self._seed = seed

    def prepare(self, features: FeatureParts, splits: Sequence[Split]) -> "LiblinearOnFeatures":
        """Read all features into memory; see `Solver.prepare`."""
        return LiblinearOnFeatures(features.read(), splits, self._loss, self._seed)


class LiblinearOnFeatures:
    """The reference with its features; see `Prepared`.

    Parameters
    ----------
    features : Features
        Of all images.
    splits : sequence of Split
        Of the protocol.
    loss : {"squared_hinge", "hinge"}
        Of a margin violation.
    seed : int
        As for `Liblinear`.
    """

    def __init__(self, features: Features, splits: Sequence[Split], loss: Loss, seed: int) -> None:
        self._features = features
        self._splits = splits
        self._loss = loss
        self._seed = seed
        self._tests: dict[int, Float64] = {}

    def path(self, split: int, targets: Targets, Cs: Sequence[float]) -> Iterator[Float64]:
        """Fit on `Split.fit`, score `Split.validation`; see `Prepared.path`."""
        here = self._splits[split]
        fitted, validation = self._features.rows(here.fit), self._features.rows(here.validation)
        for C in Cs:
            yield self._scores(fitted, targets, validation, C)

    def path_state(self, split: int) -> dict[str, NDArray[Any]]:  # noqa: ARG002 - as in `Prepared`
        """Return nothing: every value of C is fitted from the start; see `Prepared.path_state`."""
        return {}

    def restore_path(self, split: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Do nothing; see `Prepared.restore_path`."""

    def train(self, split: int, targets: Targets, C: float) -> None:
        """Fit on all training images; see `Prepared.train`."""
        here = self._splits[split]
        self._tests[split] = self._scores(self._features.rows(here.train), targets, self._features.rows(here.test), C)

    def machine(self, split: int) -> dict[str, NDArray[Any]]:
        """Return the test scores, which is all that is left to ask; see `Prepared.machine`."""
        return {"scores": self._tests[split]}

    def restore(self, split: int, machine: Mapping[str, NDArray[Any]]) -> None:
        """Take test scores; see `Prepared.restore`."""
        self._tests[split] = np.asarray(machine["scores"], dtype=np.float64)

    def test_scores(self) -> list[Float64]:
        """Score the test images; see `Prepared.test_scores`."""
        return [self._tests[split] for split in range(len(self._splits))]

    def _scores(self, train: Float32, targets: Targets, other: Float32, C: float) -> Float64:
        with warnings.catch_warnings():
            # Told below, once, with the classes concerned.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # LIBLINEAR works on one core and releases Python's lock, so threads fill the others without copying rows.
            fitted = Parallel(n_jobs=-1, prefer="threads")(
                delayed(self._fit)(train, targets[:, label], C) for label in range(targets.shape[1])
            )
        stopped = [f"{k} at C={C:g}" for k, machine in enumerate(fitted) if _stopped(machine)]
        if stopped:
            message = (
                f"LIBLINEAR stopped after {MAX_ITERATIONS:,} iterations, not converged: class {', '.join(stopped)}"
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
        return np.stack([machine.decision_function(other) for machine in fitted], axis=1)

    def _fit(self, train: Float32, signs: NDArray[np.int8], C: float) -> LinearSVC:
        used = signs != 0
        settings = {"loss": self._loss, "dual": "auto", "tol": TOLERANCE, "max_iter": MAX_ITERATIONS}
        return LinearSVC(C=C, random_state=self._seed, **settings).fit(train[used], signs[used])


def _stopped(machine: LinearSVC) -> bool:
    return bool(machine.n_iter_ >= MAX_ITERATIONS)
