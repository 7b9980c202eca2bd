"""Newton's method for the hinge, which has no second derivative: on a smoothed objective whose centre moves.

The dual is given a ridge around coefficients ``a``, its centre:

    1/2 b'Kb - sum_i y_i b_i + 1/(2 sigma) sum_i (y_i b_i - a_i)^2,   0 <= y_i b_i <= upper_i.

Its own dual is a smooth objective of the scores, ``clip(a + sigma (1 - y f), 0, upper)`` minus its derivative, on which
Newton's method solves for the images that are free, between the bounds: a few hundred of them, however small C is. A
minimum is the next centre; the centres go to the hinge's own optimum, the faster, the larger sigma. All classes go in
step, so that what many images change is one matrix product.

References
----------
Rockafellar (1976), Augmented Lagrangians and applications of the proximal point algorithm in convex programming.
Li, Sun & Toh (2018), A highly efficient semismooth Newton augmented Lagrangian method for solving Lasso problems.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.svm import direct
from transferbench.evaluation.svm import hinge_kernels as kernels
from transferbench.evaluation.svm.objective import Costs, Signs
from transferbench.evaluation.svm.operators import Matrix, Operator
from transferbench.evaluation.svm.threads import each, in_ranges, one_core_each
from transferbench.types.arrays import Float64, Int64

# In units of 1 over the mean of K's diagonal. Smaller, many images are free and centres are slow; larger, Newton's
# steps are short, for what is smooth is narrow.
_SIGMA = 20.0
_FASTER, _SLOWER = 3.0, 2.0
_FEW, _MANY = 2, 8
_LARGEST = {np.dtype(np.float64): 1e9, np.dtype(np.float32): 1e3}
# Part of the residual's square at which a system is solved well enough for a step.
_ENOUGH = 1e-10
_CONJUGATE_STEPS = 30


class ProximalNewton:
    """The classes of one problem with the hinge, at one value of C.

    Parameters
    ----------
    operator : Operator
        Multiplies by the Gram matrix K of n images.
    signs : ndarray of shape (K, n), int8
        +1, -1, or 0 where an image is left out of a class.
    coefficients, scores : ndarray of shape (K, n), float64
        b and K b, within the bounds; those of the last centre come in their place.
    costs : Costs
        Of the hinge.
    """

    def __init__(self, operator: Operator, signs: Signs, coefficients: Float64, scores: Float64, costs: Costs) -> None:
        self._operator = operator
        self._signs = signs
        self._found, self._scores = coefficients, scores
        # Summed in float64 from here on: a loss of C times what rounding takes from a margin would hide a large gap.
        scores[:] = operator.exact(coefficients)
        self._b, self._f = coefficients.copy(), scores.copy()
        self._upper = costs.upper
        self._centre: Float64 = signs * coefficients
        typical = operator.mean_square
        self._least = _SIGMA / typical if typical > 0 else 1.0
        self._most = self._least * _LARGEST[operator.dtype]
        self._sigma = np.full(len(signs), self._least)
        self._steps = np.zeros(len(signs), dtype=np.int64)
        self._stiff = np.zeros(len(signs), dtype=bool)

    def step(self, classes: Int64) -> NDArray[np.bool_]:
        """Take one step of Newton's method.

        Parameters
        ----------
        classes : ndarray of shape (k,), int64
            Which take part.

        Returns
        -------
        ndarray of shape (k,), bool
            Which have come to a new centre.
        """
        Y, B, F, A = self._signs[classes], self._b[classes], self._f[classes], self._centre[classes]
        fixed = self._sigma[classes], self._upper[classes]
        free, counts = np.empty(B.shape, np.bool_), np.empty(len(B), np.int64)
        step, right = np.empty_like(B), np.empty_like(B)
        in_ranges(len(B), partial(kernels.aim_classes, Y, B, F, A, *fixed, free, step, right, counts))
        gain = self._operator.exact(step)
        right -= gain
        self._solve(classes, free, counts, right, step, gain)
        lengths = np.empty(len(B))
        in_ranges(len(B), partial(kernels.search_classes, Y, B, F, A, *fixed, step, gain, lengths))
        arrived: NDArray[np.bool_] = lengths == 1.0
        in_ranges(len(B), partial(kernels.arrive_classes, Y, F, A, *fixed, arrived))
        self._b[classes], self._f[classes], self._centre[classes] = B, F, A
        if arrived.any():
            here = classes[arrived]
            # Newton's method goes on from where it is: that is not the centre, unless its minimum was met exactly.
            self._found[here] = Y[arrived] * A[arrived]
            self._scores[here] = F[arrived] + self._operator.exact(self._found[here] - B[arrived])
        self._adapt(classes, arrived)
        return arrived

    def _adapt(self, classes: Int64, arrived: NDArray[np.bool_]) -> None:
        """Raise sigma where a centre is found at once, lower it where that took many steps."""
        self._steps[classes] += 1
        here = classes[arrived]
        few, many = here[self._steps[here] <= _FEW], here[self._steps[here] >= _MANY]
        self._sigma[few] = np.minimum(_FASTER * self._sigma[few], self._most)
        self._sigma[many] = np.maximum(self._sigma[many] / _SLOWER, self._least)
        self._steps[here] = 0

    def _solve(
        self, classes: Int64, free: NDArray[np.bool_], counts: Int64, right: Float64, step: Float64, gain: Float64
    ) -> None:
        """Add the changes of free images to `step`, and their product with K to `gain`."""
        alone = (counts > 0) & (counts <= self._operator.gathers_up_to)
        here = np.flatnonzero(alone)
        if len(here):
            changes = np.zeros((len(here), right.shape[1]))

            def solve(place: int) -> None:
                k = here[place]
                index = np.flatnonzero(free[k])
                changes[place, index] = self._one(int(classes[k]), index, right[k, index])

            with one_core_each():
                each(range(len(here)), solve)
            step[here] += changes
            gain[here] += self._operator.exact(changes)
        others = np.flatnonzero((counts > 0) & ~alone)
        if len(others):
            changes = self._in_step(1 / self._sigma[classes[others]], free[others], right[others])
            step[others] += changes
            gain[others] += self._operator.exact(changes)

    def _one(self, k: int, index: Int64, right: Float64) -> Float64:
        """Solve for the free images of class `k` by their own matrix."""
        matrix, own, start = self._operator.small(index), np.full(len(index), 1 / self._sigma[k]), np.zeros(len(index))
        constants = _ENOUGH * float(right @ right), bool(self._stiff[k]), 2 if matrix.itemsize == 4 else 0
        try:
            solution, stiff = direct.solve_system(matrix, own, right, start, *constants)
        except np.linalg.LinAlgError:  # sigma is too large for this precision
            self._sigma[k] = max(self._sigma[k] / _FASTER, self._least)
            return np.zeros(len(index))
        self._stiff[k] = stiff
        changes: Float64 = solution
        return changes

    def _in_step(self, ridge: Float64, free: NDArray[np.bool_], right: Float64) -> Float64:
        """Solve for the free images of all classes at once, by products with the whole matrix."""
        residual = np.where(free, right, 0.0)
        search: Matrix = residual.astype(self._operator.dtype)
        step = np.zeros_like(right)
        square = np.einsum("kn,kn->k", residual, residual)
        enough = _ENOUGH * square
        for _ in range(_CONJUGATE_STEPS):
            going = square > enough
            if not going.any():
                break
            search[~going] = 0
            square[~going] = 0
            product = np.zeros_like(search)
            product[going] = self._operator.product(search[going])
            moving = (residual, search, product, step, square)
            in_ranges(len(right), partial(kernels.conjugate_classes, free, ridge, *moving))
        return step
