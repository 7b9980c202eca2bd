"""What multiplies by a Gram matrix, and the way that has the matrix in memory; `rows` has the other one."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.svm import direct, kernels
from transferbench.evaluation.svm.objective import Costs
from transferbench.evaluation.svm.threads import each
from transferbench.types.arrays import Float64, Int64

Matrix = NDArray[np.floating[Any]]
Signed = tuple[NDArray[np.int8], Float64, Float64]
"""Signs, coefficients and scores of one class."""
_BLOCK = 256
# Above this part of coefficients that are not 0, a matrix product beats reading single rows.
_DENSE = 0.1
_IN_CACHE = 1500
_ROOM = 6000


class Operator(Protocol):
    """K, known by what it does to coefficients; all arrays have classes first."""

    n: int
    dtype: np.dtype[Any]
    gathers_up_to: int
    direct_up_to: int
    direct_up_to_if_slow: int
    sparse_below: int
    finishes_whole: bool

    @property
    def mean_square(self) -> float:
        """Mean of the diagonal of K."""

    def product(self, coefficients: Matrix) -> Matrix:
        """Map (k, n) coefficients of type `dtype` to their product with K, in that type."""

    def quick(self, coefficients: Float64) -> Float64:
        """Map (k, n) coefficients to their product with K, in the precision of `dtype`."""

    def exact(self, coefficients: Float64) -> Float64:
        """Map (k, n) coefficients to their product with K, summed in float64."""

    def small(self, index: Int64) -> Matrix:
        """Make the matrix of at most `gathers_up_to` chosen images."""

    def finish_direct(self, signed: Signed, costs: Costs, k: int, tolerance: float, turn: int, widest: int) -> bool:
        """Solve the squared hinge for class `k` alone, if at most `widest` images are within their margin.

        If the operator `finishes_whole`, coefficients and scores of all images are changed, the latter summed in
        float64. Otherwise only coefficients are, and those of images far beyond their margin become 0: the more `turn`,
        counted from 0, the fewer. Return whether it was done.
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
        self.gathers_up_to = _ROOM
        # Beyond, gathering a class's matrix and passing over it was measured to cost more than finishing in step: the
        # sooner, the fewer of them a core has in its cache.
        self.direct_up_to = max(512, min(3 * self.n // 10, _IN_CACHE), int((30 * self.n**2) ** (1 / 3)))
        # Where that takes hundreds of products, anything does that has room for a matrix on every core.
        self.direct_up_to_if_slow = max(self.n // 2, min(self.n, _ROOM))
        # A single row comes from memory at a sixteenth of the speed of its part in a matrix product.
        self.sparse_below = self.n // 16

    @property
    def mean_square(self) -> float:
        """Average; see `Operator.mean_square`."""
        return float(np.mean(np.diagonal(self.gram), dtype=np.float64))

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

    def small(self, index: Int64) -> Matrix:
        """Gather; see `Operator.small`."""
        result = np.empty((len(index), len(index)), self.dtype)
        kernels.gather(self.gram, index, index, 0, len(index), result)
        return result

    def finish_direct(self, signed: Signed, costs: Costs, k: int, tolerance: float, turn: int, widest: int) -> bool:  # noqa: ARG002 - nothing is left out
        """Solve for one class; see `Operator.finish_direct`."""
        sign, b, f = signed
        before = b.copy(), f.copy()
        here = True
        try:
            return bool(direct.minimise(self.gram, sign, b, f, costs.loss[k], costs.ridge[k], tolerance, widest, here))
        except np.linalg.LinAlgError:  # C is too large for this precision
            b[:], f[:] = before
            return False
