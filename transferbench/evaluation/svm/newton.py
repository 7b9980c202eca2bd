"""Newton's method on the primal of the squared hinge, for all classes in step; each step by conjugate gradients.

All that costs is the product of the Gram matrix with a vector of every class, at the speed of a matrix product. So each
is used: the residual that conjugate gradients leave is, at the point reached, the gradient of the next step but for
images that have met or left their margin; and at the next C it is a multiple of what is known.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferbench.evaluation.svm import newton_kernels as kernels
from transferbench.evaluation.svm.objective import Costs, Signs
from transferbench.evaluation.svm.operators import Matrix, Operator
from transferbench.evaluation.svm.subspace import Preconditioner, Subspace
from transferbench.evaluation.svm.threads import in_ranges
from transferbench.types.arrays import Float64, Int64

_CONJUGATE_STEPS = 20
# A step ends when the residual's square has fallen to this part: what is beyond would be lost when images meet their
# margin.
_ENOUGH = 0.02
_TINY = 1e-300


class Newton:
    """The wide classes of one problem, at one value of C after the other.

    Parameters
    ----------
    operator : Operator
        Multiplies by the Gram matrix K of n images.
    signs : ndarray of shape (K, n), int8
        +1, -1, or 0 where an image is left out of a class.
    coefficients, scores : ndarray of shape (K, n), float64
        b and K b; moved in place.

    Attributes
    ----------
    slow : ndarray of shape (K,), bool
        Of which classes the last step was cut short.
    """

    def __init__(self, operator: Operator, signs: Signs, coefficients: Float64, scores: Float64) -> None:
        self._operator = operator
        self._signs = signs
        self._b, self._f = coefficients, scores
        self._preconditioner: Preconditioner | None = None
        self.slow = np.zeros(len(signs), dtype=bool)
        # The gradient's model: what the residual would be if no image had met or left its margin, and its image.
        shape = (len(signs), operator.n)
        self._known = np.zeros(len(signs), dtype=bool)
        self._model = np.zeros(shape, operator.dtype)
        self._model_image = np.zeros(shape, operator.dtype)
        self._hard = np.zeros(shape, operator.dtype)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that later steps depend on but coefficients and scores; see `Descent.state`."""
        own: dict[str, NDArray[Any]] = {
            "known": self._known,
            "slow": self.slow,
            "model": self._model,
            "model-image": self._model_image,
            "hard": self._hard,
        }
        return own if self._preconditioner is None else own | self._preconditioner.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go back to a state; see `Descent.restore`."""
        self._known, self.slow, self._model = state["known"], state["slow"], state["model"]
        self._model_image, self._hard = state["model-image"], state["hard"]
        if "squares" in state:
            self._preconditioned().restore(state)

    def forget(self, classes: Int64) -> None:
        """Take note that coefficients were changed by somebody else.

        Parameters
        ----------
        classes : ndarray of shape (k,), int64
            Whose.
        """
        self._known[classes] = False

    def settle(self, classes: Int64, costs: Costs) -> None:
        """Do nothing: coefficients move with scores; see `primal.PrimalNewton.settle`."""

    def rescale(self, classes: Int64, factor: float) -> None:
        """Take note that C, and so every image's share in the gradient, has been multiplied.

        Parameters
        ----------
        classes : ndarray of shape (k,), int64
            Whose coefficients stay as they are.
        factor : float
            New C over old.
        """
        here = classes[self._known[classes]]
        # The residual is c - b, and c is multiplied.
        self._model[here] = factor * self._model[here] + (factor - 1) * self._b[here]
        self._model_image[here] = factor * self._model_image[here] + (factor - 1) * self._f[here]

    def step(self, classes: Int64, costs: Costs, C: float, tolerance: float) -> tuple[Float64, NDArray[np.bool_]]:
        """Take one step; classes that are at their optimum stay.

        Parameters
        ----------
        classes : ndarray of shape (k,), int64
            Which take part.
        costs : Costs
            Of all classes.
        C : float
            The factor in them.
        tolerance : float
            Relative duality gap at which a class stays.

        Returns
        -------
        tuple of two ndarrays of shape (k,)
            Relative duality gaps before the step, and which classes stayed.
        """
        Y, B, F = self._signs[classes], self._b[classes], self._f[classes]
        loss = costs.loss[classes]
        residual, hard = np.empty(B.shape, self._operator.dtype), np.empty(B.shape, self._operator.dtype)
        objective = np.empty(len(B))
        in_ranges(len(B), partial(kernels.aim_classes, Y, B, F, loss, residual, hard, objective))
        residual, image = self._with_image(classes, residual, hard)
        square = _dots(residual, image)
        gaps = 0.5 * np.maximum(square, 0) / np.maximum(objective, _TINY)
        stays = gaps <= tolerance
        self._model[classes], self._model_image[classes], self._hard[classes] = residual, image, hard
        self._known[classes] = True
        going = np.flatnonzero(~stays)
        if len(going):
            enough = np.maximum(_ENOUGH * square, 0.5 * tolerance * objective)[going]
            moving = (classes[going], residual[going], image[going], hard[going])
            self._preconditioned().update(moving[0], moving[3] / (2 * C), C)
            step, gain = self._conjugate(*moving, enough)
            self._go(moving[0], Y[going], B[going], F[going], loss[going], step, gain)
        return gaps, stays

    def _with_image(self, classes: Int64, residual: Matrix, hard: Matrix) -> tuple[Matrix, Matrix]:
        """Multiply the residual by K, from the model where that is known."""
        change, counts = np.empty_like(residual), np.zeros(len(classes), dtype=np.int64)
        known = self._known[classes]
        before = (hard, self._hard[classes], residual, self._model[classes], change, counts)
        in_ranges(len(classes), partial(kernels.differ_classes, *before))
        # Where much has changed, a fresh product costs as much as that of the change, and carries no old rounding.
        fresh = ~known | (counts > self._operator.sparse_below)
        image = self._model_image[classes]
        change[fresh] = residual[fresh]
        image[fresh] = 0
        wanted = np.flatnonzero(fresh | (counts > 0))
        if len(wanted):
            image[wanted] += self._operator.product(change[wanted])
        kept = ~fresh
        residual[kept] = self._model[classes[kept]] + change[kept]
        return residual, image

    def _conjugate(
        self, classes: Int64, residual: Matrix, image: Matrix, hard: Matrix, enough: Float64
    ) -> tuple[Matrix, Matrix]:
        """Solve for Newton's steps; return them and their images, and leave what is left in the model."""
        preconditioner = self._preconditioned()
        step, gain = np.zeros_like(residual), np.zeros_like(residual)
        search, search_image = preconditioner.apply(classes, residual, image)
        rotated = _dots(search, image)
        bent, length = np.empty_like(residual), np.empty(len(classes))
        square = np.empty(len(classes))
        for _ in range(_CONJUGATE_STEPS):
            in_ranges(
                len(classes),
                partial(kernels.go_classes, hard, residual, search, search_image, step, gain, bent, rotated, length),
            )
            going = rotated > 0
            product = np.zeros_like(bent)
            product[going] = self._operator.product(bent[going])
            arriving = (length, residual, image, search_image, product, square)
            in_ranges(len(classes), partial(kernels.arrive_classes, *arriving))
            going &= square > enough
            self.slow[classes] = going
            if not going.any():
                break
            new, new_image = preconditioner.apply(classes, residual, image)
            after = np.where(going, _dots(new, image), 0.0)
            ratio = np.where(going, after / np.where(rotated > 0, rotated, 1), 0.0)
            rotated = np.maximum(after, 0)
            in_ranges(len(classes), partial(kernels.turn_classes, ratio, new, new_image, search, search_image))
        self._left = (residual, image)
        return step, gain

    def _go(self, classes: Int64, Y: Signs, B: Float64, F: Float64, loss: Float64, step: Matrix, gain: Matrix) -> None:
        lengths = np.empty(len(classes))
        in_ranges(len(classes), partial(kernels.move_classes, Y, B, F, loss, step, gain, lengths))
        self._b[classes], self._f[classes] = B, F
        for model, left in zip((self._model, self._model_image), self._left, strict=True):
            in_ranges(len(classes), partial(kernels.follow_classes, lengths, model[classes], left))
            model[classes] = left

    def _preconditioned(self) -> Preconditioner:
        if self._preconditioner is None:
            used = (self._signs != 0).mean(axis=0)
            self._preconditioner = Preconditioner(Subspace(self._operator), used, len(self._signs))
        return self._preconditioner


def _dots(a: Matrix, b: Matrix) -> Float64:
    result = np.empty(len(a))
    in_ranges(len(a), partial(kernels.dots, a, b, result))
    return result
