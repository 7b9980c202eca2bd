"""One-vs-rest linear SVMs behind one seam: scores of other rows for every C. LIBLINEAR is the reference behind it."""

import warnings
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from transferbench.errors import EvaluationError
from transferbench.types import Float32, Float64

Loss = Literal["squared_hinge", "hinge"]
Targets = NDArray[np.int8]
"""(n, K): +1 of the class, -1 not, 0 left out of this class's training."""

MAX_ITERATIONS = 100_000
TOLERANCE = 1e-4


class Solver(Protocol):
    """Fits all classes for several C and scores other rows."""

    name: str

    def scores(self, train: Float32, targets: Targets, other: Float32, Cs: Sequence[float]) -> Float64:
        """Map (n, D) rows and (n, K) targets to the (len(Cs), m, K) decision values of (m, D) other rows."""


class Liblinear:
    """scikit-learn's `LinearSVC`, one class at a time: L2-regularised, the bias regularised too.

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
        self._loss = loss
        self._seed = seed

    def scores(self, train: Float32, targets: Targets, other: Float32, Cs: Sequence[float]) -> Float64:
        """Fit every class for every C, and score other rows.

        Parameters
        ----------
        train : ndarray of shape (n, D), float32
            Feature rows.
        targets : ndarray of shape (n, K), int8
            +1, -1, or 0 for a row left out of a class.
        other : ndarray of shape (m, D), float32
            Rows to score.
        Cs : sequence of float
            Weights of the loss against the regulariser.

        Returns
        -------
        ndarray of shape (len(Cs), m, K), float64
            Decision values, larger for the class.

        Raises
        ------
        EvaluationError
            If a class has no positive or no negative row.
        """
        _check_targets(targets)
        with warnings.catch_warnings():
            # Told below, once, with the classes concerned.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # LIBLINEAR works on one core and releases Python's lock, so threads fill the others without copying rows.
            fitted = Parallel(n_jobs=-1, prefer="threads")(
                delayed(self._fit)(train, targets[:, label], C) for C in Cs for label in range(targets.shape[1])
            )
        by_C = [fitted[start : start + targets.shape[1]] for start in range(0, len(fitted), targets.shape[1])]
        stopped = [f"{k} at C={C:g}" for C, row in zip(Cs, by_C, strict=True) for k, m in enumerate(row) if _stopped(m)]
        if stopped:
            message = (
                f"LIBLINEAR stopped after {MAX_ITERATIONS:,} iterations, not converged: class {', '.join(stopped)}"
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
        return np.stack([np.stack([machine.decision_function(other) for machine in row], axis=1) for row in by_C])

    def _fit(self, train: Float32, signs: NDArray[np.int8], C: float) -> LinearSVC:
        used = signs != 0
        settings = {"loss": self._loss, "dual": "auto", "tol": TOLERANCE, "max_iter": MAX_ITERATIONS}
        return LinearSVC(C=C, random_state=self._seed, **settings).fit(train[used], signs[used])


def _stopped(machine: LinearSVC) -> bool:
    return bool(machine.n_iter_ >= MAX_ITERATIONS)


def _check_targets(targets: Targets) -> None:
    for sign, word in ((1, "positive"), (-1, "negative")):
        empty = ~(targets == sign).any(axis=0)
        if empty.any():
            msg = f"class number {int(empty.argmax())} has no {word} training image"
            raise EvaluationError(msg)
