"""What is minimised: LIBLINEAR's primal and dual objectives of one class, and how far apart they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transferbench.types.arrays import Float64

Loss = Literal["squared_hinge", "hinge"]
Targets = NDArray[np.int8]
"""(n, K): +1 of the class, -1 not, 0 left out of this class's training."""
Signs = NDArray[np.int8]
"""(K, n): targets with the classes first, as the inner loops read them."""

BALANCED = "balanced"


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """The constants of one value of C, for the negative (column 0) and positive (column 1) images of every class.

    With scores f = K b of signed coefficients b = y a, a >= 0, class k minimises over b

        primal  1/2 b'Kb + sum_i loss_i max(0, 1 - y_i f_i)^p,
        dual    1/2 b'Kb + 1/2 sum_i ridge_i a_i^2 - sum_i a_i,   0 <= a_i <= upper_i,

    whose minima are each other's negatives. K is the Gram matrix of the features with `intercept_scaling` appended, so
    the bias is regularised.

    Parameters
    ----------
    loss : ndarray of shape (K, 2), float64
        C times the weight of the class.
    ridge : ndarray of shape (K, 2), float64
        1 / (2 loss) for the squared hinge (p = 2), 0 for the hinge (p = 1).
    upper : ndarray of shape (K, 2), float64
        Infinity for the squared hinge, `loss` for the hinge.
    squared : bool
        Whether p is 2.

    References
    ----------
    Hsieh et al. (2008), A dual coordinate descent method for large-scale linear SVM, ICML, Eqs. 1, 2 and 4.
    """

    loss: Float64
    ridge: Float64
    upper: Float64
    squared: bool

    @classmethod
    def of(cls, loss: Loss, C: float, weights: Float64) -> "Costs":
        """Work out the constants.

        Parameters
        ----------
        loss : {"squared_hinge", "hinge"}
            Of a margin violation.
        C : float
            Weight of the loss against the regulariser.
        weights : ndarray of shape (K, 2), float64
            Further factors on C, of the negative and positive images.

        Returns
        -------
        Costs
            For `weights.shape[0]` classes.
        """
        weighted = C * weights
        if loss == "squared_hinge":
            return cls(weighted, 0.5 / weighted, np.full_like(weighted, np.inf), squared=True)
        return cls(weighted, np.zeros_like(weighted), weighted, squared=False)


def one_vs_rest_weights(
    signs: Signs, numbers: NDArray[np.intp], classes: NDArray[np.generic], given: Mapping[object, float] | str | None
) -> Float64:
    """Work out the weights of positive images, as scikit-learn's ``class_weight`` means them.

    Parameters
    ----------
    signs : ndarray of shape (K, n), int8
        One row per machine; for two classes a single one.
    numbers : ndarray of shape (n,), intp
        Position in `classes` of every image's class.
    classes : ndarray of shape (number of classes,)
        The labels.
    given : mapping of label to float, "balanced" or None
        ``balanced`` weighs with n / (number of classes times images of the class).

    Returns
    -------
    ndarray of shape (K, 2), float64
        For negative and positive images. With several classes the rest has weight 1, as in LIBLINEAR.

    Raises
    ------
    ValueError
        If a weight is for no class.
    """
    if given is None:
        per_class = np.ones(len(classes))
    elif given == BALANCED:
        counts = np.bincount(numbers, minlength=len(classes))
        per_class = len(numbers) / (len(classes) * counts)
    else:
        weights = dict(given) if isinstance(given, Mapping) else {}
        unknown = [label for label in weights if label not in classes.tolist()]
        if unknown or not isinstance(given, Mapping):
            msg = f"class_weight must be None, 'balanced' or a dict of known classes, got {given!r}"
            raise ValueError(msg)
        per_class = np.array([float(weights.get(label, 1.0)) for label in classes.tolist()])
    if len(signs) == 1:
        return per_class[None, :].astype(np.float64)
    return np.stack([np.ones(len(classes)), per_class], axis=1)


def objectives(scores: Float64, coefficients: Float64, signs: Signs, costs: Costs) -> tuple[Float64, Float64]:
    """Compute both objectives of every class in float64; the plain statement that the compiled code is held against.

    Parameters
    ----------
    scores : ndarray of shape (K, n), float64
        K b of every class.
    coefficients : ndarray of shape (K, n), float64
        b = y a, with a within its bounds.
    signs : ndarray of shape (K, n), int8
        +1, -1, or 0 for images that the class leaves out.
    costs : Costs
        Of the same K classes.

    Returns
    -------
    tuple of two ndarrays of shape (K,), float64
        The primal objective and the (maximised) dual one, which is never above the primal optimum.
    """
    used = signs != 0
    side = (signs > 0).astype(np.intp)
    per_image = {name: np.take_along_axis(getattr(costs, name), side, axis=1) for name in ("loss", "ridge")}
    half_square = 0.5 * np.einsum("kn,kn->k", coefficients, scores)
    violation = np.where(used, np.maximum(0.0, 1.0 - signs * scores), 0.0)
    losses = (per_image["loss"] * violation ** (2 if costs.squared else 1)).sum(axis=1)
    ridges = 0.5 * (per_image["ridge"] * coefficients**2).sum(axis=1)
    return half_square + losses, (signs * coefficients).sum(axis=1) - half_square - ridges
