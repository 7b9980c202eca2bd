"""The convolutional layers of a net as plain arrays: what an engine that is not torch needs to run them."""

from dataclasses import dataclass

from transferbench.types.arrays import Float32


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """A convolution of stride 1 and the ReLU after it.

    Parameters
    ----------
    weight : ndarray of shape (outputs, inputs, k, k), float32
        Applied as a cross-correlation.
    bias : ndarray of shape (outputs,), float32
        Added before the ReLU.
    padding : int
        Zeros on every side, in px.
    """

    weight: Float32
    bias: Float32
    padding: int


@dataclass(frozen=True, slots=True)
class MaxPooling:
    """A maximum over 2 x 2 px, of stride 2.

    Parameters
    ----------
    ceil : bool
        Whether an odd side is rounded up.
    """

    ceil: bool


@dataclass(frozen=True, slots=True)
class ResponseNormalisation:
    """Krizhevsky's normalisation across channels: x / (k + alpha / size * sum of squares) ** beta.

    Parameters
    ----------
    size : int
        Neighbouring channels in the sum.
    alpha, beta, k : float
        As in the formula.
    """

    size: int
    alpha: float
    beta: float
    k: float


PlainLayer = Convolution | MaxPooling | ResponseNormalisation
