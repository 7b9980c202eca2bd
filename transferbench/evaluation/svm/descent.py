"""The method: all classes together while their problems are wide, each class alone when it is narrow.

At a small C nearly every image has a coefficient. Then all classes go in step, so that the work is products of the Gram
matrix with all classes at once, at the speed of a matrix product: for the squared hinge Newton's method on the primal,
each step by conjugate gradients; for the hinge, which has no second derivative, blocked sweeps and conjugate gradients
on the dual. At a larger C few images matter, different ones for every class. Then each class gathers the small Gram
matrix of its own images and is finished in cache, on the dual: sweeps find the coefficients that are 0, and conjugate
gradients the others, not minding that features of one kind resemble each other, as sweeps alone do.
"""

import warnings
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from transferbench.evaluation.svm import kernels
from transferbench.evaluation.svm.objective import Costs, Loss, Signs
from transferbench.evaluation.svm.operators import MARGIN, Operator
from transferbench.evaluation.svm.threads import each, in_ranges
from transferbench.types import Float64

MAX_ROUNDS = 100
TOLERANCES = {np.dtype(np.float64): 1e-8, np.dtype(np.float32): 1e-5}
"""Relative duality gap at which a class is done, by the type of its Gram matrix. Features that resemble each other
closely, as those of a net with random weights do, have scores that differ little between classes: a loose gap would
reorder them."""
_CONJUGATE_STEPS = 10
_ENOUGH = 0.01
_TURNS = 3
_TINY = 1e-300
_Numbers = NDArray[np.intp]


class Descent:
    """The SVMs of all classes on one set of images, at one value of C after the other.

    Parameters
    ----------
    operator : Operator
        Multiplies by the Gram matrix of the n images.
    signs : ndarray of shape (K, n), int8
        +1, -1, or 0 where an image is left out of a class.
    loss : {"squared_hinge", "hinge"}
        Of a margin violation.
    weights : ndarray of shape (K, 2), float64, optional
        Factors on C, of negative and positive images; 1 if not given.
    tolerance : float, optional
        Relative duality gap at which a class is done; one of `TOLERANCES` if not given.
    max_rounds : int
        Rounds after which a class is left as it is.

    Attributes
    ----------
    coefficients : ndarray of shape (K, n), float64
        b of every class; the weight vector is X'b.
    scores : ndarray of shape (K, n), float64
        Decision values of all n images, those left out included: K b, summed in float64.
    gaps : ndarray of shape (K,), float64
        Relative duality gaps of the last `solve`, computed in float64.
    tolerance : float
        What the gaps are held against.
    rounds : int
        Steps taken so far, of any class.
    """

    def __init__(
        self,
        operator: Operator,
        signs: Signs,
        loss: Loss,
        weights: Float64 | None = None,
        *,
        tolerance: float | None = None,
        max_rounds: int = MAX_ROUNDS,
    ) -> None:
        self._operator = operator
        self._signs = np.ascontiguousarray(signs)
        self._loss: Loss = loss
        self._weights = np.ones((len(signs), 2)) if weights is None else weights
        self.tolerance = TOLERANCES[operator.dtype] if tolerance is None else tolerance
        self._max_rounds = max_rounds
        self.coefficients: Float64 = np.zeros(signs.shape)
        self.scores: Float64 = np.zeros(signs.shape)
        self.gaps: Float64 = np.full(len(signs), np.inf)
        # Classes whose coefficients came out of Newton's method: any sign, few of them 0.
        self._primal = np.zeros(len(signs), dtype=bool)
        self.rounds = 0

    def start_from(self, coefficients: Float64) -> None:
        """Begin at a solution for other signs, for instance for fewer images.

        Parameters
        ----------
        coefficients : ndarray of shape (K, n), float64
            With the signs of this problem, or 0.
        """
        self.coefficients = np.where(self._signs * coefficients > 0, coefficients, 0.0)
        self.scores = self._operator.exact(self.coefficients)

    def solve(self, C: float) -> None:
        """Go to the optimum for a value of C, from wherever the coefficients are.

        Parameters
        ----------
        C : float
            Weight of the loss; a rising sequence is quickest.
        """
        costs = Costs.of(self._loss, C, self._weights)
        self.gaps = np.full(len(self._signs), np.inf)
        wide = self._widths(np.arange(len(self._signs)), costs) > self._operator.widest
        # A class that is not done by the one way is taken over by the other, as long as that helps.
        for _ in range(_TURNS):
            self._solve_wide(np.flatnonzero(wide), costs)
            waiting = self.gaps > self.tolerance
            if not waiting.any():
                break
            self._solve_narrow(np.flatnonzero(waiting), costs)
            wide = self.gaps > self.tolerance
            if not wide.any():
                break

    def certify(self, operator: Operator, C: float) -> None:
        """Compute scores and gaps anew with another operator, for instance of the features themselves.

        Parameters
        ----------
        operator : Operator
            Of the same images in the same order.
        C : float
            That of the last `solve`.
        """
        self._operator, costs = operator, Costs.of(self._loss, C, self._weights)
        self._refresh(np.arange(len(self._signs)))
        self._certify(np.flatnonzero(self._primal), costs)
        self._measure(np.flatnonzero(~self._primal), costs)

    def _solve_narrow(self, classes: _Numbers, costs: Costs) -> None:
        """Finish every class on the images that matter to it."""
        Y, B, F = self._signs, self.coefficients, self.scores
        # Newton's scores tell well which images matter; those of the feasible coefficients, at first, do not.
        first = {k: np.flatnonzero(Y[k] * F[k] < 1 + MARGIN) for k in classes[self._primal[classes]]}
        first = {k: index[Y[k, index] != 0] for k, index in first.items()}
        nothing = np.empty(0, dtype=np.int64)
        self._to_dual(classes, costs)
        self._measure(classes, costs)
        if self._operator.widest:
            classes = classes[(self.gaps > self.tolerance)[classes]]
            self.rounds += 1
            self.gaps[classes] = each(
                classes,
                lambda k: self._operator.finish(Y[k], B[k], F[k], costs, int(k), self.tolerance, first.get(k, nothing)),
            )

    def _solve_wide(self, classes: _Numbers, costs: Costs) -> None:
        """Take the classes to the tolerance in step."""
        if costs.squared:
            self._newton(classes, costs)
            return
        self._to_dual(classes, costs)
        for _ in range(self._max_rounds):
            if not len(classes):
                break
            self.rounds += 1
            self._go_together(classes, costs)
            self._measure(classes, costs)
            done = classes[(self.gaps <= self.tolerance)[classes]]
            self._refresh(done)
            self._measure(done, costs)
            classes = classes[(self.gaps > self.tolerance)[classes]]
            if self._operator.widest and len(classes) and self._widths(classes, costs).max() <= self._operator.widest:
                break
        self._refresh(classes)
        self._measure(classes, costs)

    def _newton(self, classes: _Numbers, costs: Costs) -> None:
        """Minimise the primal of the squared hinge by Newton's method, each step by conjugate gradients."""
        self._primal[classes] = True
        for _ in range(self._max_rounds):
            if not len(classes):
                return
            self.rounds += 1
            done = self._newton_step(classes, costs)
            if done.any():
                # Scores have gathered the rounding of many float32 products: the certificate is taken on exact ones.
                self._refresh(classes[done])
                self._certify(classes[done], costs)
            open_ = (self.gaps > self.tolerance)[classes]
            # Images leave step by step; as soon as few are left the class is better finished by itself.
            still_wide = self._widths(classes, costs) > self._operator.widest
            classes = classes[open_ & (still_wide | done)]

    def _certify(self, classes: _Numbers, costs: Costs) -> None:
        """Set the gaps of classes with coefficients of any sign: half the square of the primal gradient."""
        if not len(classes):
            return
        Y, B, F = self._signs[classes], self.coefficients[classes], self.scores[classes]
        residual, objective = np.empty(B.shape), np.empty(len(B))
        loss = costs.loss[classes]
        in_ranges(len(B), partial(kernels.aim_primal_classes, Y, B, F, loss, residual, objective))
        # In units of its largest value, the residual survives float32 however small it is.
        unit = np.abs(residual).max(axis=1, keepdims=True)
        unit[unit == 0] = 1
        residual /= unit
        square = np.einsum("kn,kn->k", residual, self._operator.product(residual.astype(self._operator.dtype)))
        self.gaps[classes] = 0.5 * np.maximum(square, 0.0) * unit[:, 0] ** 2 / np.maximum(objective, _TINY)

    def _newton_step(self, classes: _Numbers, costs: Costs) -> NDArray[np.bool_]:
        """Take one step; return which classes were at their optimum before it, and so did not move."""
        operator = self._operator
        Y, B, F = self._signs[classes], self.coefficients[classes], self.scores[classes]
        loss = costs.loss[classes]
        residual, objective = np.empty(B.shape, operator.dtype), np.empty(len(B))
        in_ranges(len(B), partial(kernels.aim_primal_classes, Y, B, F, loss, residual, objective))
        image = operator.product(residual)
        square = np.einsum("kn,kn->k", residual, image, dtype=np.float64)
        needed = 2 * self.tolerance * objective
        done: NDArray[np.bool_] = square <= needed
        enough = np.maximum(_ENOUGH * square, 0.25 * needed)
        square[done] = 0
        search = residual.copy()
        step, gain = np.zeros_like(B), np.zeros_like(B)
        for _ in range(_CONJUGATE_STEPS):
            moving = (residual, search, image, step, gain, square)
            in_ranges(len(B), partial(kernels.conjugate_primal_classes, Y, F, loss, *moving))
            going = square > 0
            product = np.zeros_like(search)
            product[going] = operator.product(residual[going])
            turning = (residual, product, search, image, square, enough)
            in_ranges(len(B), partial(kernels.turn_classes, *turning))
            if not square.any():
                break
        in_ranges(len(B), partial(kernels.move_primal_classes, Y, B, F, loss, step, gain))
        self.coefficients[classes], self.scores[classes] = B, F
        self.gaps[classes] = np.where(done, 0.0, np.inf)
        return done

    def _to_dual(self, classes: _Numbers, costs: Costs) -> None:
        """Make the coefficients feasible for the dual, and scale them for this C."""
        Y, B, F = self._signs, self.coefficients, self.scores
        primal = classes[self._primal[classes]]
        each(primal, lambda k: kernels.to_dual(Y[k], B[k], F[k], MARGIN))
        self._refresh(primal)
        self._primal[primal] = False
        each(classes, lambda k: kernels.rescale(Y[k], B[k], F[k], costs.ridge[k], costs.upper[k]))

    def _widths(self, classes: _Numbers, costs: Costs) -> NDArray[np.int64]:
        """Count the images that matter to every class."""
        Y, B, F = self._signs, self.coefficients, self.scores
        return np.array([kernels.width(Y[k], B[k], F[k], costs.upper[k], MARGIN) for k in classes], dtype=np.int64)

    def _measure(self, classes: _Numbers, costs: Costs) -> None:
        """Set the gaps of classes whose coefficients are feasible."""
        for k in classes:
            vectors = self._signs[k], self.coefficients[k], self.scores[k]
            self.gaps[k] = kernels.relative_gap(*vectors, costs.loss[k], costs.ridge[k], costs.squared)[0]

    def _refresh(self, classes: _Numbers) -> None:
        if len(classes):
            self.scores[classes] = self._operator.exact(self.coefficients[classes])

    def _go_together(self, classes: _Numbers, costs: Costs) -> None:
        """Sweep once, then take one Newton step of conjugate gradients, for several classes in step."""
        Y, B, F = self._signs[classes], self.coefficients[classes], self.scores[classes]
        part = Costs(costs.loss[classes], costs.ridge[classes], costs.upper[classes], squared=costs.squared)
        self._operator.sweep(Y, B, F, part)
        step, gain, residual = np.empty_like(B), np.empty_like(B), np.empty_like(B)
        search = np.empty(B.shape, self._operator.dtype)
        square = np.empty(len(B))
        fixed = (Y, B, F, part.ridge, part.upper)
        constants = (Y, part.ridge)
        in_ranges(len(B), partial(kernels.aim_classes, *fixed, residual, search, step, gain, square))
        enough = _ENOUGH * square
        for _ in range(_CONJUGATE_STEPS):
            going = square > enough
            if not going.any():
                break
            search[~going] = 0
            square[~going] = 0
            product = np.zeros_like(search)
            product[going] = self._operator.product(search[going])
            moving = (residual, search, product, step, gain, square)
            in_ranges(len(B), partial(kernels.conjugate_classes, *constants, *moving))
        clipped = np.zeros(len(B), dtype=np.int64)
        in_ranges(len(B), partial(kernels.clip_classes, Y, B, part.upper, step, search, clipped))
        if clipped.any():
            gain[clipped > 0] += self._operator.product(search[clipped > 0])
        in_ranges(len(B), partial(kernels.move_classes, *fixed, step, gain))
        self.coefficients[classes], self.scores[classes] = B, F


def warn_of_gaps(gaps: Float64, tolerance: float, what: str, names: Sequence[str] | None = None) -> None:
    """Say which classes stopped before their optimum.

    Parameters
    ----------
    gaps : ndarray of shape (K,), float64
        Relative duality gaps.
    tolerance : float
        What was asked for.
    what : str
        Where it happened, for instance ``C=0.1``.
    names : sequence of str, optional
        Of the classes; their numbers if not given.
    """
    late = np.flatnonzero(~(gaps <= tolerance))
    if len(late):
        worst = int(late[np.argmax(gaps[late])])
        name = names[worst] if names is not None else f"number {worst}"
        warnings.warn(
            f"{len(late)} of {len(gaps)} SVMs stopped before their optimum at {what}: the worst, class {name}, has a "
            f"relative duality gap of {gaps[worst]:.1e}; {tolerance:.1e} was asked for",
            ConvergenceWarning,
            stacklevel=3,
        )
