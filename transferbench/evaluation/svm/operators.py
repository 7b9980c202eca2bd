"""What multiplies by a Gram matrix, and the way that has the matrix in memory; `rows` has the other one."""

from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.svm import direct, kernels
from transferbench.evaluation.svm.objective import Costs, Signs
from transferbench.evaluation.svm.threads import each, in_ranges
from transferbench.types.arrays import Float64, Int64

Matrix = NDArray[np.floating[Any]]
_BLOCK = 256
_SWEEPS = 3
# Above this part of coefficients that are not 0, a matrix product beats reading single rows.
_DENSE = 0.1


class Operator(Protocol):
    """K, known by what it does to coefficients; all arrays have classes first."""

    n: int
    dtype: np.dtype[Any]
    widest: int
    direct_up_to: int
    sparse_below: int
    finishes_whole: bool

    def product(self, coefficients: Matrix) -> Matrix:
        """Map (k, n) coefficients of type `dtype` to their product with K, in that type."""

    def quick(self, coefficients: Float64) -> Float64:
        """Map (k, n) coefficients to their product with K, in the precision of `dtype`."""

    def exact(self, coefficients: Float64) -> Float64:
        """Map (k, n) coefficients to their product with K, summed in float64."""

    def sweep(self, signs: Signs, coefficients: Float64, scores: Float64, costs: Costs) -> None:
        """Minimise over one block of images after the other, changing coefficients and scores in place."""

    def finish(self, sign: NDArray[np.int8], b: Float64, f: Float64, costs: Costs, k: int, tolerance: float) -> float:
        """Solve for class `k` of `costs` alone, as long as at most `widest` images matter; return its relative gap."""

    def finish_direct(
        self, sign: NDArray[np.int8], b: Float64, f: Float64, costs: Costs, k: int, tolerance: float, margin: float
    ) -> bool:
        """Solve the squared hinge for class `k` alone, if at most `direct_up_to` images are within their margin.

        Those not beyond it by more than `margin` take part; `b` is changed, `f` is not. With an infinite margin, if the
        operator `finishes_whole`, all take part, and `f` is changed too, summed in float64. Return whether it was done.
        """


class GramOperator:
    """The Gram matrix in memory.

    Parameters
    ----------
    gram : ndarray of shape (n, n), float32 or float64
        Symmetric, the square of ``intercept_scaling`` added to every entry. Rows of different classes should be mixed:
        a block of consecutive rows then speaks for all.
    """

    def __init__(self, gram: Matrix) -> None:
        self.gram = gram
        self.finishes_whole = True
        self.n = len(gram)
        self.dtype = gram.dtype
        self.widest = max(512, min(self.n // 2, 2048))
        # m images cost about 0.7 m^3 operations in all factors, finishing in step about ten products of 2 n^2.
        self.direct_up_to = max(512, int((30 * self.n**2) ** (1 / 3)))
        # A single row comes from memory at a sixteenth of the speed of its part in a matrix product.
        self.sparse_below = self.n // 16

    def product(self, coefficients: Matrix) -> Matrix:
        """Multiply; see `Operator.product`."""
        return self._mixed(coefficients, self.sparse_below)

    def quick(self, coefficients: Float64) -> Float64:
        """Multiply; see `Operator.quick`."""
        return self._mixed(coefficients, self.sparse_below).astype(np.float64, copy=False)

    def _mixed(self, coefficients: Matrix, sparse_below: int) -> Matrix:
        """Multiply by single rows what has few coefficients, the rest by a matrix product."""
        sparse = np.count_nonzero(coefficients, axis=1) < sparse_below
        if not sparse.any():
            result: Matrix = coefficients.astype(self.dtype, copy=False) @ self.gram
            return result
        result = np.empty(coefficients.shape, coefficients.dtype)
        each(np.flatnonzero(sparse), lambda k: kernels.multiply_sparse(self.gram, coefficients[k], result[k]))
        if not sparse.all():
            result[~sparse] = coefficients[~sparse].astype(self.dtype, copy=False) @ self.gram
        return result

    def exact(self, coefficients: Float64) -> Float64:
        """Multiply in float64; see `Operator.exact`."""
        result = np.zeros_like(coefficients)
        dense = np.count_nonzero(coefficients, axis=1) > _DENSE * self.n
        each(
            np.flatnonzero(~dense),
            lambda k: kernels.multiply_sparse(self.gram, coefficients[k], result[k]),
        )
        if dense.any():
            chosen = coefficients[dense]
            total = np.zeros_like(chosen)
            for start in range(0, self.n, _BLOCK):
                block = slice(start, start + _BLOCK)
                total += chosen[:, block] @ self.gram[block].astype(np.float64)
            result[dense] = total
        return result

    def sweep(self, signs: Signs, coefficients: Float64, scores: Float64, costs: Costs) -> None:
        """Sweep; see `Operator.sweep`."""
        for start in range(0, self.n, _BLOCK):
            rows = self.gram[start : start + _BLOCK]
            change = sweep_block(rows, start, start, signs, coefficients, scores, costs)
            scores += change @ rows

    def finish(self, sign: NDArray[np.int8], b: Float64, f: Float64, costs: Costs, k: int, tolerance: float) -> float:
        """Solve for one class; see `Operator.finish`."""
        constants = (costs.loss[k], costs.ridge[k], costs.upper[k], costs.squared)
        return float(kernels.finish(self.gram, sign, b, f, *constants, tolerance, MARGIN, self.widest, 60))

    def finish_direct(
        self, sign: NDArray[np.int8], b: Float64, f: Float64, costs: Costs, k: int, tolerance: float, margin: float
    ) -> bool:
        """Solve for one class; see `Operator.finish_direct`."""
        constants = (costs.loss[k], costs.ridge[k])
        if np.isfinite(margin):
            return direct.finish_direct(self._small, sign, b, f, constants, tolerance, margin, self.direct_up_to)
        before = b.copy(), f.copy()
        try:
            whole = (tolerance, self.direct_up_to, direct.ROUNDS)
            return bool(direct.finish_whole(self.gram, sign, b, f, *constants, *whole))
        except np.linalg.LinAlgError:  # C is too large for this precision
            b[:], f[:] = before
            return False

    def _small(self, index: Int64) -> Matrix:
        result = np.empty((len(index), len(index)), self.dtype)
        kernels.gather(self.gram, index, index, 0, len(index), result)
        return result


MARGIN = 0.05
"""How far beyond its margin an image may be and still matter when a class is finished. Only speed depends on it."""


def sweep_block(
    gram: Matrix, column: int, start: int, signs: Signs, coefficients: Float64, scores: Float64, costs: Costs
) -> Matrix:
    """Sweep over the classes' coefficients of one block of images.

    Parameters
    ----------
    gram : ndarray of shape (m, ...)
        Rows of the Gram matrix; those m images begin at column `column`.
    column, start : int
        Where the block begins in `gram` and in the vectors.
    signs, coefficients, scores : ndarray of shape (K, n)
        Of all images; coefficients move, scores do not.
    costs : Costs
        Of the K classes.

    Returns
    -------
    ndarray of shape (K, m)
        By how much coefficients moved.
    """
    change = np.empty((len(signs), len(gram)), gram.dtype)
    arrays = (signs, coefficients, scores, costs.ridge, costs.upper)
    work = partial(_sweep_part, gram, column, start, arrays, change)
    in_ranges(len(signs), work)
    return change


def _sweep_part(gram: Matrix, column: int, start: int, arrays: Any, change: Matrix, first: int, last: int) -> None:
    kernels.sweep_classes(gram, column, start, *arrays, _SWEEPS, first, last, change)
