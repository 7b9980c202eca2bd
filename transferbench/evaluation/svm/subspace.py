"""The few directions in which images resemble one another most, shared by all classes: they make systems easy to solve.

The Gram matrix of a net's features has one very large eigenvalue (what all images have in common), large ones of the
classes, and a long tail of small ones. Conjugate gradients find the large ones one after the other, for every class
anew; here they are found once, and each class gets the exact inverse of its own system within their span.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.svm import newton_kernels
from transferbench.evaluation.svm.operators import Matrix, Operator
from transferbench.evaluation.svm.threads import in_ranges, one_core_each
from transferbench.types.arrays import Float64, Int64

RANK = 64
_MORE = 8
_POWERS = 2
_SEED = 2015


class Subspace:
    """A basis of r directions, as coefficients of images, orthonormal in the Gram matrix's own norm.

    Parameters
    ----------
    operator : Operator
        Multiplies by the Gram matrix K of n images.
    rank : int
        r; fewer if K has fewer.

    Attributes
    ----------
    basis : ndarray of shape (r, n)
        U, with U K U' = 1.
    image : ndarray of shape (r, n)
        U K.

    References
    ----------
    Halko, Martinsson & Tropp (2011), Finding structure with randomness, SIAM Review 53, Algorithm 4.4.
    """

    def __init__(self, operator: Operator, rank: int | None = None) -> None:
        rank = min(rank or RANK, operator.n)
        start = np.random.default_rng(_SEED).standard_normal((min(rank + _MORE, operator.n), operator.n))
        start[0] = 1
        found = start.astype(operator.dtype)
        for _ in range(_POWERS):
            found = np.ascontiguousarray(np.linalg.qr(operator.product(found).T)[0].T)
        image = operator.product(found)
        values, vectors = np.linalg.eigh((found @ image.T).astype(np.float64))
        chosen = np.flatnonzero(values > 1e-5 * values[-1])[::-1][:rank]
        mix = (vectors[:, chosen] / np.sqrt(values[chosen])).T.astype(operator.dtype)
        self.basis: Matrix = mix @ found
        self.image: Matrix = mix @ image


class Preconditioner:
    """For every class the inverse of 1 + 2 X'DX within the subspace; D weighs the images that matter to it.

    Updated by what changes in D, which is little from one step to the next.

    Parameters
    ----------
    subspace : Subspace
        Shared.
    weights : ndarray of shape (n,)
        A D to begin with, for instance that of all images that are trained on.
    n_classes : int
        K.
    """

    def __init__(self, subspace: Subspace, weights: Float64, n_classes: int) -> None:
        self._subspace = subspace
        self._by_image = np.ascontiguousarray(subspace.image.T)
        dtype = self._by_image.dtype
        square = (self._by_image * weights[:, None].astype(dtype)).T @ self._by_image
        self._squares = np.tile(square, (n_classes, 1, 1))
        self._weights = np.tile(weights.astype(dtype), (n_classes, 1))
        self._correction = np.empty_like(self._squares)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what is followed from step to step: the subspace is found again, the correction is made of both.

        Returns
        -------
        dict of str to ndarray
            As `restore` takes it.
        """
        return {"squares": self._squares, "weights": self._weights}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to a state; see `Descent.restore`.

        Parameters
        ----------
        state : mapping of str to ndarray
            Of `state`, for the same problem.
        """
        self._squares, self._weights = state["squares"], state["weights"]

    def update(self, classes: Int64, weights: Matrix, C: float) -> None:
        """Follow a change of C, and of the images that matter.

        Parameters
        ----------
        classes : ndarray of shape (k,), int64
            Whose.
        weights : ndarray of shape (k, n)
            Their D without the factor C.
        C : float
            The factor.
        """
        state = (self._by_image, self._squares, self._weights, self._correction)
        with one_core_each():
            in_ranges(len(classes), partial(newton_kernels.follow_curvature, *state, classes, weights, 2 * C))

    def apply(self, classes: Int64, vectors: Matrix, images: Matrix) -> tuple[Matrix, Matrix]:
        """Multiply vectors, given as coefficients together with their products with K.

        Parameters
        ----------
        classes : ndarray of shape (k,), int64
            Whose.
        vectors, images : ndarray of shape (k, n)
            Coefficients and their products with K.

        Returns
        -------
        tuple of two ndarrays of shape (k, n)
            Coefficients and their products with K.
        """
        inside = vectors @ self._by_image
        inside = np.matmul(self._correction[classes], inside[:, :, None])[:, :, 0]
        return vectors + inside @ self._subspace.basis, images + inside @ self._subspace.image
