"""Rows of features in blocks: how to multiply by a Gram matrix that is too large to have, or not worth having."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import blas

from transferbench.evaluation.svm import direct
from transferbench.evaluation.svm.objective import Costs
from transferbench.evaluation.svm.operators import Matrix, Signed
from transferbench.types.arrays import Float32, Float64, Int64

_BLOCK_IN_MEMORY = 1024
_LARGEST_SMALL = 4000
# How far beyond its margin an image may be and still take part when a class is finished; only speed depends on it.
_MARGIN = 0.02


class RowsOperator:
    """Rows of features, block by block: the way when n is too large for a Gram matrix, or when rows are short.

    Parameters
    ----------
    blocks : callable
        Gives the same blocks of consecutive rows at every call, each (up to a few hundred, d), float32; they need not
        be in memory at the same time.
    n : int
        Number of rows.
    bias : float
        ``intercept_scaling``.
    dtype : dtype, optional
        Of the products; float32 if not given.
    rows : ndarray of shape (n, d), optional
        All of them, where they are in memory: then a class can be finished on the few rows that matter to it.
    """

    sparse_below = 0
    finishes_whole = False

    def __init__(
        self,
        blocks: Callable[[], Iterable[Float32]],
        n: int,
        bias: float,
        dtype: np.dtype[Any] | None = None,
        rows: Matrix | None = None,
    ) -> None:
        self._rows = rows
        # The matrix of m rows costs m^2 d operations, finishing in step about forty products of 4 n d.
        self.direct_up_to = 0 if rows is None else min(int((160 * n) ** 0.5), _LARGEST_SMALL)
        self.direct_up_to_if_slow = 2 * self.direct_up_to
        self.gathers_up_to = self.direct_up_to
        self._blocks = blocks
        self.n = n
        self._square = bias * bias
        self.dtype = np.dtype(np.float32) if dtype is None else dtype

    @classmethod
    def of(cls, rows: Matrix, bias: float, dtype: np.dtype[Any]) -> "RowsOperator":
        """Work on rows in memory.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Features.
        bias : float
            ``intercept_scaling``.
        dtype : dtype
            Of the products.

        Returns
        -------
        RowsOperator
            Which holds the rows, not a copy.
        """

        def blocks() -> Iterator[Any]:
            return (rows[start : start + _BLOCK_IN_MEMORY] for start in range(0, len(rows), _BLOCK_IN_MEMORY))

        return cls(blocks, len(rows), bias, dtype, rows)

    def weights(self, coefficients: Matrix) -> Matrix:
        """Sum the rows, weighted.

        Parameters
        ----------
        coefficients : ndarray of shape (k, n), float32 or float64
            Of every row.

        Returns
        -------
        ndarray of shape (k, d)
            The weight vectors, in the type of `coefficients`.
        """
        total: Matrix | None = None
        for start, block in self._numbered():
            part = coefficients[:, start : start + len(block)] @ block.astype(coefficients.dtype, copy=False)
            total = part if total is None else np.add(total, part, out=total)
        if total is None:
            msg = "there are no rows"
            raise ValueError(msg)
        return total

    def product(self, coefficients: Matrix) -> Matrix:
        """Multiply; see `Operator.product`."""
        return self._scores(self.weights(coefficients), coefficients)

    def short_for(self, n_classes: int) -> bool:
        """Tell whether rows are so short that systems of weight vectors are cheaper to prepare than to do without.

        X'X takes n d^2 operations and ten factors of it 3.3 d^3, thirty products of all classes 120 n d K.

        Parameters
        ----------
        n_classes : int
            K.

        Returns
        -------
        bool
            For `primal.PrimalNewton`.
        """
        d = self.dimensions + 1
        return 2 * d < self.n and self.n + 3.3 * d <= 120 * self.n * n_classes / d

    @cached_property
    def dimensions(self) -> int:
        """Length d of a row."""
        return int(next(iter(self._blocks())).shape[1])

    @cached_property
    def mean_square(self) -> float:
        """Mean of the Gram matrix's diagonal."""
        return sum(float(np.sum(np.square(b), dtype=np.float64)) for _, b in self._numbered()) / self.n + self._square

    @cached_property
    def square(self) -> Matrix:
        """X'X of the rows X, each with the bias appended: (d + 1, d + 1), symmetric, in the type of the products."""
        d = self.dimensions + 1
        update = blas.dsyrk if self.dtype == np.float64 else blas.ssyrk
        half: Matrix = np.zeros((d, d), self.dtype, order="F")
        bias = self.dtype.type(self._square**0.5)
        for _, block in self._numbered():
            extended = np.full((len(block), d), bias, self.dtype)
            extended[:, :-1] = block
            half = update(1.0, extended.T, 1.0, half, lower=1, overwrite_c=1)
        return half + np.tril(half, -1).T

    def forward(self, coefficients: Matrix) -> Matrix:
        """Sum the rows, each with the bias appended, weighted: half of `product`.

        Parameters
        ----------
        coefficients : ndarray of shape (k, n)
            Of every row.

        Returns
        -------
        ndarray of shape (k, d + 1)
            Weight vectors, in the type of `coefficients`.
        """
        bias = self._square**0.5 * coefficients.sum(axis=1, dtype=np.float64)
        return np.concatenate([self.weights(coefficients), bias[:, None].astype(coefficients.dtype)], axis=1)

    def backward(self, weights: Matrix) -> Matrix:
        """Score all rows: the other half of `product`.

        Parameters
        ----------
        weights : ndarray of shape (k, d + 1)
            As `forward` makes them.

        Returns
        -------
        ndarray of shape (k, n)
            Scores, in the type of `weights`.
        """
        return self._scored(
            np.ascontiguousarray(weights[:, :-1]), self._square**0.5 * weights[:, -1].astype(np.float64)
        )

    def quick(self, coefficients: Float64) -> Float64:
        """Multiply; see `Operator.quick`."""
        return self.product(coefficients.astype(self.dtype)).astype(np.float64, copy=False)

    def exact(self, coefficients: Float64) -> Float64:
        """Multiply in float64; see `Operator.exact`."""
        result: Float64 = self._scores(self.weights(coefficients), coefficients).astype(np.float64, copy=False)
        return result

    def finish_direct(self, signed: Signed, costs: Costs, k: int, tolerance: float, turn: int, widest: int) -> bool:
        """Solve for one class, if the rows are in memory; see `Operator.finish_direct`."""
        constants, margin = (costs.loss[k], costs.ridge[k]), _MARGIN * 2**turn
        return direct.finish_near(self.small, *signed, constants, tolerance, margin, widest)

    def small(self, index: Int64) -> Matrix:
        """Multiply chosen rows; see `Operator.small`."""
        assert self._rows is not None  # noqa: S101 - `gathers_up_to` is 0 otherwise
        rows = self._rows[index].astype(self.dtype, copy=False)
        # Of a matrix and its own transpose numpy computes one half.
        result: Matrix = rows @ rows.T
        result += self.dtype.type(self._square)
        return result

    def _scores(self, weights: Matrix, coefficients: Matrix) -> Matrix:
        return self._scored(weights, self._square * coefficients.sum(axis=1, dtype=np.float64))

    def _scored(self, weights: Matrix, biases: Float64) -> Matrix:
        result = np.empty((len(weights), self.n), weights.dtype)
        for start, block in self._numbered():
            np.matmul(weights, block.T.astype(weights.dtype, copy=False), out=result[:, start : start + len(block)])
        result += biases[:, None].astype(weights.dtype)
        return result

    def _numbered(self) -> Iterable[tuple[int, Float32]]:
        start = 0
        for block in self._blocks():
            yield start, block
            start += len(block)
