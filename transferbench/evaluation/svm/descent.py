"""The method: all classes together while their problems are wide, each class alone when it is narrow.

At a small C nearly every image has a coefficient. Then all classes go in step, so that the work is products of the Gram
matrix with all classes at once, at the speed of a matrix product: Newton's method on the primal (``newton``). At a
larger C few images matter, different ones for every class. Then each class gathers the small Gram matrix of its own
images, and Newton's method is that of their dual system (``direct``). The hinge, which has no second derivative, has a
method of its own (``hinge``).
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from transferbench.evaluation.svm import hinge_kernels, kernels, newton_kernels
from transferbench.evaluation.svm.hinge import ProximalNewton
from transferbench.evaluation.svm.newton import Newton
from transferbench.evaluation.svm.objective import Costs, Loss, Signs
from transferbench.evaluation.svm.operators import Operator
from transferbench.evaluation.svm.primal import PrimalNewton
from transferbench.evaluation.svm.rows import RowsOperator
from transferbench.evaluation.svm.threads import each, in_ranges, one_core_each
from transferbench.types.arrays import Float64

MAX_ROUNDS = 100
TOLERANCES = {np.dtype(np.float64): 1e-8, np.dtype(np.float32): 1e-5}
"""Relative duality gap at which a class is done, by the type of its Gram matrix. Features that resemble each other
closely, as those of a net with random weights do, have scores that differ little between classes: a loose gap would
reorder them."""
PATH_TOLERANCES = {np.dtype(np.float64): 1e-8, np.dtype(np.float32): 1e-4}
"""The same along a path whose scores only choose C: that of LIBLINEAR's own default."""
_STEPS_A_ROUND = 5
_TURNS = 4
_PATIENCE = 12
_ALONE = 6
_TINY = 1e-300
_NEWTON = "newton-"
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
    certified : bool
        Whether scores are summed in float64 before a gap is believed. Without, a float32 matrix gives scores and gaps
        to its own precision, which is enough to choose C, in half the time.

    Attributes
    ----------
    coefficients : ndarray of shape (K, n), float64
        b of every class; the weight vector is X'b.
    scores : ndarray of shape (K, n), float64
        Decision values of all n images, those left out included: K b.
    gaps : ndarray of shape (K,), float64
        Relative duality gaps of the last `solve`.
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
        certified: bool = True,
    ) -> None:
        self._operator = operator
        self._signs = np.ascontiguousarray(signs)
        self._loss: Loss = loss
        self._weights = np.ones((len(signs), 2)) if weights is None else weights
        self.tolerance = TOLERANCES[operator.dtype] if tolerance is None else tolerance
        self._max_rounds = max_rounds
        self._multiply = operator.exact if certified else operator.quick
        self._certified = certified
        self.coefficients: Float64 = np.zeros(signs.shape)
        self.scores: Float64 = np.zeros(signs.shape)
        self.gaps: Float64 = np.full(len(signs), np.inf)
        self._newton: Newton | PrimalNewton | None = None
        self._C = 1.0
        self.rounds = 0

    def start_from(self, coefficients: Float64) -> None:
        """Begin at a solution for other signs, for instance for fewer images.

        Parameters
        ----------
        coefficients : ndarray of shape (K, n), float64
            With the signs of this problem, or 0.
        """
        self.coefficients = np.where(self._signs * coefficients > 0, coefficients, 0.0)
        self.scores = self._operator.quick(self.coefficients)
        self._newton = None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that a later `solve` depends on: another process goes on from it to the same last bit.

        Returns
        -------
        dict of str to ndarray
            The arrays themselves, no copies; for `restore`.
        """
        own: dict[str, NDArray[Any]] = {
            "coefficients": self.coefficients,
            "scores": self.scores,
            "C": np.array(self._C),
        }
        newton = {} if self._newton is None else self._newton.state()
        return own | {f"{_NEWTON}{name}": array for name, array in newton.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to a state of the same problem.

        Parameters
        ----------
        state : mapping of str to ndarray
            As `state` returned it; the arrays are moved in place from now on.
        """
        self.coefficients, self.scores, self._C = state["coefficients"], state["scores"], float(state["C"])
        newton = {name.removeprefix(_NEWTON): array for name, array in state.items() if name.startswith(_NEWTON)}
        self._newton = None
        if newton:
            self._newton = self._newton_for(self._operator)
            self._newton.restore(newton)

    def solve(self, C: float) -> None:
        """Go to the optimum for a value of C, from wherever the coefficients are.

        Parameters
        ----------
        C : float
            Weight of the loss; a rising sequence is quickest.
        """
        costs = Costs.of(self._loss, C, self._weights)
        self.gaps = np.full(len(self._signs), np.inf)
        if costs.squared:
            self._solve_squared(C, costs)
        else:
            self._solve_hinge(costs)

    def certify(self, operator: Operator, C: float) -> None:
        """Compute scores and gaps anew with another operator, for instance of the features themselves.

        Parameters
        ----------
        operator : Operator
            Of the same images in the same order.
        C : float
            That of the last `solve`.
        """
        self._operator, self._multiply, self._newton = operator, operator.exact, None
        everyone = np.arange(len(self._signs))
        self._refresh(everyone)
        self._measure(everyone, Costs.of(self._loss, C, self._weights))

    def _solve_squared(self, C: float, costs: Costs) -> None:
        everyone = np.arange(len(self._signs))
        if self._newton is None:
            self._newton = self._newton_for(self._operator)
        self._newton.rescale(everyone, C / self._C)
        self._C = C
        narrow = self._few_within(everyone)
        for _ in range(_TURNS):
            self._together(np.flatnonzero(~narrow & (self.gaps > self.tolerance)), C, costs)
            if not (self.gaps > self.tolerance).any():
                break
            self._alone(np.flatnonzero(self.gaps > self.tolerance), costs)
            narrow[:] = False

    def _newton_for(self, operator: Operator) -> Newton | PrimalNewton:
        state = self._signs, self.coefficients, self.scores
        if isinstance(operator, RowsOperator) and operator.short_for(len(self._signs)):
            return PrimalNewton(operator, *state)
        return Newton(operator, *state)

    def _together(self, classes: _Numbers, C: float, costs: Costs) -> None:
        """Take classes to the tolerance in step, or until so few images matter that each is better finished alone."""
        assert self._newton is not None  # noqa: S101 - made by the only caller
        taking_part = classes
        for round_ in range(self._max_rounds):
            if not len(classes):
                break
            self.rounds += 1
            gaps, stays = self._newton.step(classes, costs, C, self.tolerance)
            self.gaps[classes] = np.where(stays, gaps, np.inf)
            if self._certified and stays.any():
                # Scores have gathered the rounding of many products: the certificate is taken on exact ones.
                self._newton.settle(classes[stays], costs)
                self._refresh(classes[stays])
                self._measure(classes[stays], costs)
            open_ = self.gaps[classes] > self.tolerance
            # Not a step further by rounding, or always one more: steps of all classes get these nowhere.
            self._newton.slow[classes[open_ & (stays | (round_ >= _PATIENCE))]] = True
            classes = classes[open_ & (stays | ~self._few_within(classes))]
        self._newton.settle(taking_part, costs)

    def _few_within(self, classes: _Numbers) -> NDArray[np.bool_]:
        """Tell of which classes few enough images are within their margin for a matrix of their own."""
        Y, F, limits = self._signs, self.scores, self._widest_alone()
        return np.array([newton_kernels.within(Y[k], F[k], 0.0) <= limits[k] for k in classes], dtype=bool)

    def _widest_alone(self) -> NDArray[np.int64]:
        """Return up to how many images a class is finished alone: more where steps of all classes get it nowhere."""
        assert self._newton is not None  # noqa: S101 - made by `_solve_squared`
        limits = (self._operator.direct_up_to_if_slow, self._operator.direct_up_to)
        return np.where(self._newton.slow, *limits).astype(np.int64)

    def _alone(self, classes: _Numbers, costs: Costs) -> None:
        """Finish every class on the images that matter to it, as far as they are few enough."""
        Y, B, F, widest = self._signs, self.coefficients, self.scores, self._widest_alone()
        for turn in range(_ALONE):
            if not len(classes) or not widest.any():
                return
            self.rounds += 1

            def finish(k: int, turn: int = turn) -> bool:
                signed = Y[k], B[k], F[k]
                return self._operator.finish_direct(signed, costs, int(k), self.tolerance, turn, int(widest[k]))

            with one_core_each():
                done = each(classes, finish)
            if self._operator.finishes_whole and self._newton is not None:
                # Those that were given up have moved as well: too many images came to be within their margin.
                self._newton.forget(classes)
            classes = classes[np.array(done, dtype=bool)]
            if not self._operator.finishes_whole:
                self._refresh(classes)
            self._measure(classes, costs)
            classes = classes[self.gaps[classes] > self.tolerance]

    def _solve_hinge(self, costs: Costs) -> None:
        Y, B, F = self._signs, self.coefficients, self.scores
        classes = np.arange(len(Y))
        each(classes, lambda k: hinge_kernels.rescale(Y[k], B[k], F[k], costs.upper[k]))
        newton = ProximalNewton(self._operator, Y, B, F, costs)
        self._measure(classes, costs)
        for _ in range(_STEPS_A_ROUND * self._max_rounds):
            classes = classes[self.gaps[classes] > self.tolerance]
            if not len(classes):
                break
            self.rounds += 1
            arrived = newton.step(classes)
            self._measure(classes[arrived], costs)

    def _measure(self, classes: _Numbers, costs: Costs) -> None:
        """Set the gaps of classes whose scores are those of their coefficients."""
        B = self.coefficients[classes]
        # Steps in step may leave coefficients of images that are left out, too: such a point is none of the dual.
        feasible = ((self._signs[classes] * B > 0) | (B == 0)).all(axis=1)
        self.gaps[classes] = np.inf
        for k in classes[feasible]:
            vectors = self._signs[k], self.coefficients[k], self.scores[k]
            self.gaps[k] = kernels.relative_gap(*vectors, costs.loss[k], costs.ridge[k], costs.squared)[0]
        if costs.squared:
            # Two points of the dual bound the gap: the coefficients, and those that the scores ask for.
            self._measure_primal(classes[~(self.gaps[classes] <= self.tolerance)], costs)

    def _measure_primal(self, classes: _Numbers, costs: Costs) -> None:
        """Lower the gaps of classes, whatever the signs of coefficients, to half the square of the primal gradient."""
        if not len(classes):
            return
        Y, B, F = self._signs[classes], self.coefficients[classes], self.scores[classes]
        residual, hard, objective = np.empty(B.shape), np.empty(B.shape), np.empty(len(B))
        loss = costs.loss[classes]
        in_ranges(len(B), partial(newton_kernels.aim_classes, Y, B, F, loss, residual, hard, objective))
        # In units of its largest value, the residual survives float32 however small it is.
        unit = np.abs(residual).max(axis=1, keepdims=True)
        unit[unit == 0] = 1
        residual /= unit
        square = np.einsum("kn,kn->k", residual, self._operator.product(residual.astype(self._operator.dtype)))
        gaps = 0.5 * np.maximum(square, 0.0) * unit[:, 0] ** 2 / np.maximum(objective, _TINY)
        self.gaps[classes] = np.minimum(gaps, self.gaps[classes])

    def _refresh(self, classes: _Numbers) -> None:
        if len(classes):
            self.scores[classes] = self._multiply(self.coefficients[classes])
            if self._newton is not None:
                self._newton.forget(classes)


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
