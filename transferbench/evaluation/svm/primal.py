"""Newton's method in the space of weight vectors, for many images with short rows: what the rows' way does there.

All classes go in step. What costs is passing over the rows, so conjugate gradients should be few: each is aimed by the
inverse of 1 + c X'X, where X holds all rows and c is the mean curvature of a class. X'X is shared by all classes and
values of C, and a factor of the (d, d) matrix by all classes whose c is about the same.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from transferbench.evaluation.svm import newton_kernels as kernels
from transferbench.evaluation.svm.objective import Costs, Signs
from transferbench.evaluation.svm.operators import Matrix
from transferbench.evaluation.svm.rows import RowsOperator
from transferbench.evaluation.svm.threads import in_ranges
from transferbench.types.arrays import Float64, Int64

_CONJUGATE_STEPS = 20
# A step ends when the gradient's square has fallen to this part; see `newton`.
_ENOUGH = 0.02
_TINY = 1e-300
_FACTORS_KEPT = 4


class PrimalNewton:
    """The classes of one problem, at one value of C after the other.

    Parameters
    ----------
    operator : RowsOperator
        Of n images.
    signs : ndarray of shape (K, n), int8
        +1, -1, or 0 where an image is left out of a class.
    coefficients, scores : ndarray of shape (K, n), float64
        b and K b. Scores are moved in place; coefficients follow when they are settled.

    Attributes
    ----------
    slow : ndarray of shape (K,), bool
        Of which classes the last step was cut short.
    """

    def __init__(self, operator: RowsOperator, signs: Signs, coefficients: Float64, scores: Float64) -> None:
        self._operator = operator
        self._signs = signs
        self._b, self._f = coefficients, scores
        self._inverse = SharedInverse(operator.square, operator.n)
        self._weights: Float64 = np.zeros((len(signs), operator.dimensions + 1))
        self._known = np.zeros(len(signs), dtype=bool)
        self._settled = np.ones(len(signs), dtype=bool)
        self.slow = np.zeros(len(signs), dtype=bool)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that later steps depend on but coefficients and scores; see `Descent.state`."""
        return {"weights": self._weights, "known": self._known, "settled": self._settled, "slow": self.slow}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to a state; see `Descent.restore`."""
        self._weights, self._known, self._settled = state["weights"], state["known"], state["settled"]
        self.slow = state["slow"]

    def forget(self, classes: Int64) -> None:
        """Take note that coefficients were changed by somebody else; see `newton.Newton.forget`."""
        self._known[classes] = False
        self._settled[classes] = True

    def rescale(self, classes: Int64, factor: float) -> None:
        """Do nothing: weight vectors do not depend on C; see `newton.Newton.rescale`."""

    def settle(self, classes: Int64, costs: Costs) -> None:
        """Find the coefficients of weight vectors.

        Those of the optimum are c = 2 loss y max(0, 1 - y f); what X'c lacks is made up by the shortest coefficients.

        Parameters
        ----------
        classes : ndarray of shape (k,), int64
            Whose; those that have them are left alone.
        costs : Costs
            Of all classes.
        """
        waiting = classes[~self._settled[classes]]
        if len(waiting):
            pull, _, _ = self._pull(waiting, costs)
            lacking = self._weights[waiting] - self._operator.forward(pull)
            shortest = self._inverse.apply(np.full(len(waiting), np.inf), lacking.astype(pull.dtype))
            self._b[waiting] = pull + self._operator.backward(shortest)
            self._settled[waiting] = True

    def step(self, classes: Int64, costs: Costs, C: float, tolerance: float) -> tuple[Float64, NDArray[np.bool_]]:  # noqa: ARG002 - as of `Newton`
        """Take one step; classes that are at their optimum stay; see `newton.Newton.step`."""
        unknown = classes[~self._known[classes]]
        if len(unknown):
            self._weights[unknown] = self._operator.forward(self._b[unknown].astype(self._operator.dtype))
            self._known[unknown] = True
        pull, hard, losses = self._pull(classes, costs)
        objective = losses + 0.5 * _dots(self._weights[classes], self._weights[classes])
        descent = self._operator.forward(pull) - self._weights[classes]
        del pull
        # The coefficients c are feasible for the dual, so this is the gap between them and the weight vector.
        square = _dots(descent, descent)
        gaps = 0.5 * square / np.maximum(objective, _TINY)
        stays = gaps <= tolerance
        going = np.flatnonzero(~stays)
        if len(going):
            enough = np.maximum(_ENOUGH * square, 0.5 * tolerance * objective)[going]
            step, gain, cut_short = self._conjugate(descent[going].astype(hard.dtype), hard[going], enough)
            self.slow[classes[going]] = cut_short
            self._go(classes[going], costs.loss[classes[going]], step, gain)
        return gaps, stays

    def _pull(self, classes: Int64, costs: Costs) -> tuple[Matrix, Matrix, Float64]:
        """Compute what images that are within their margin pull with, their curvature, and the sum of losses."""
        shape = (len(classes), self._operator.n)
        pull, hard = np.empty(shape, self._operator.dtype), np.empty(shape, self._operator.dtype)
        losses = np.empty(len(classes))
        fixed = (self._signs, self._f, costs.loss, classes)
        in_ranges(len(classes), partial(kernels.pull_classes, *fixed, pull, hard, losses))
        return pull, hard, losses

    def _conjugate(self, residual: Matrix, hard: Matrix, enough: Float64) -> tuple[Matrix, Matrix, NDArray[np.bool_]]:
        """Solve for Newton's steps of the weight vectors; return them, the scores they add, and which are cut short."""
        curvature = hard.mean(axis=1, dtype=np.float64)
        search = self._inverse.apply(curvature, residual)
        image = self._operator.backward(search)
        rotated = _dots(search, residual)
        step, gain = np.zeros_like(search), np.zeros_like(image)
        cut_short = np.ones(len(residual), dtype=bool)
        # All but `step` and `gain` are of those that are still going, for each costs as much as the others.
        going = np.arange(len(residual))
        for _ in range(_CONJUGATE_STEPS):
            bent, bends = np.empty_like(image), np.empty(len(going))
            in_ranges(len(going), partial(kernels.bend_classes, hard, image, bent, bends))
            bends += _dots(search, search)
            length = np.where(bends > 0, rotated / np.where(bends > 0, bends, 1), 0.0).astype(search.dtype)
            step[going] += length[:, None] * search
            in_ranges(len(going), partial(kernels.add_classes, length, image, going, gain))
            residual -= length[:, None] * (search + self._operator.forward(bent))
            del bent
            open_ = (rotated > 0) & (_dots(residual, residual) > enough)
            cut_short[going] = open_
            if not open_.any():
                break
            if not open_.all():
                going, rotated, enough, curvature = going[open_], rotated[open_], enough[open_], curvature[open_]
                residual, hard, search, image = residual[open_], hard[open_], search[open_], image[open_]
            new = self._inverse.apply(curvature, residual)
            before, rotated = rotated, np.maximum(_dots(new, residual), 0.0)
            ratio = (rotated / before).astype(search.dtype)
            new_image = self._operator.backward(new)
            in_ranges(len(going), partial(kernels.add_classes, ratio, image, np.arange(len(going)), new_image))
            search, image = new + ratio[:, None] * search, new_image
        return step, gain, cut_short

    def _go(self, classes: Int64, loss: Float64, step: Matrix, gain: Matrix) -> None:
        start, bend = _dots(self._weights[classes], step), _dots(step, step)
        lengths = np.empty(len(classes))
        state = (self._signs, self._f, loss, classes, start, bend)
        in_ranges(len(classes), partial(kernels.move_scores, *state, gain, lengths))
        self._weights[classes] += lengths[:, None] * step
        self._settled[classes] = False


class SharedInverse:
    """Inverses of 1 + c S for a few values of c at a time: c is rounded to a power of two, and a factor kept for each.

    Parameters
    ----------
    square : ndarray of shape (d, d)
        S, symmetric and, but for rounding, positive semidefinite.
    n : int
        How many terms its entries are sums of.
    """

    def __init__(self, square: Matrix, n: int) -> None:
        self._square = square
        # What rounding may have taken from an eigenvalue.
        self._rounding = float(np.finfo(square.dtype).eps * max(np.trace(square), n**0.5))
        self._factors: dict[float, Matrix] = {}

    def apply(self, curvature: Float64, vectors: Matrix) -> Matrix:
        """Multiply vectors.

        Parameters
        ----------
        curvature : ndarray of shape (k,), float64
            c of every vector; infinity for the inverse of S itself, as far as it has one.
        vectors : ndarray of shape (k, d)
            In the type of S.

        Returns
        -------
        ndarray of shape (k, d)
            Symmetric and positive definite for vectors of the same c.
        """
        result = np.empty_like(vectors)
        finite = np.isfinite(curvature) & (curvature > 0)
        rounded = np.where(finite, np.exp2(np.round(np.log2(np.where(finite, curvature, 1)))), curvature)
        for value in np.unique(rounded):
            mine = np.flatnonzero(rounded == value)
            solve = lapack.dpotrs if vectors.dtype == np.float64 else lapack.spotrs
            solved, _ = solve(self._factor(float(value)), np.asfortranarray(vectors[mine].T), lower=1)
            result[mine] = solved.T
        return result

    def _factor(self, c: float) -> Matrix:
        if c not in self._factors:
            while len(self._factors) >= _FACTORS_KEPT:
                del self._factors[next(iter(self._factors))]
            matrix = np.array(self._square, order="F")
            if np.isfinite(c):
                matrix *= matrix.dtype.type(c)
            scale = c if np.isfinite(c) else 1.0
            matrix[np.diag_indices(len(matrix))] += float(np.isfinite(c)) + 4 * scale * self._rounding
            factor = lapack.dpotrf if matrix.dtype == np.float64 else lapack.spotrf
            self._factors[c], failed = factor(matrix, lower=1, clean=0, overwrite_a=1)
            if failed:
                msg = f"X'X is not positive definite in its precision (c = {c:g}, row {failed})"
                raise np.linalg.LinAlgError(msg)
        return self._factors[c]


def _dots(a: NDArray[np.floating], b: NDArray[np.floating]) -> Float64:
    result: Float64 = np.einsum("kd,kd->k", a, b, dtype=np.float64)
    return result
