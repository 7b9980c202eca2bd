"""Rows like a net's pooled descriptors, of imaginary images: for measurements where no real images may be had.

An image is a point in a space of 384 hidden causes whose strengths fall off as a power: a centre of its class plus a
deviation of its own. A net's unit adds the causes up with random weights, subtracts a threshold and is rectified, so
at one position about four in five units are silent, as in fc7. A descriptor is the mean over 10 positions that deviate
from the image; so it is not negative, about half of it is not zero, its entries have a long tail, and its Gram matrix
has one very large eigenvalue (the common mean), those of the classes, and a tail that falls off as a power. Scales of
a net share the weights and the image, not the positions. `overlap` is the size of deviations beside that of the
centres; the defaults of the benchmarks give test accuracies between 80 and 90%.
"""

import numpy as np

CAUSES = 384
POSITIONS = 10
WIDTH = 4096
_THRESHOLD = 0.85


class Imaginary:
    """Images of some classes, and the descriptors that nets would give them.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Class numbers.
    classes : int
        K.
    overlap : float
        Size of the deviations within a class beside the distances between classes: larger is harder.
    seed : int
        Of everything.
    """

    def __init__(self, labels: np.ndarray, classes: int, overlap: float, seed: int) -> None:
        self._strength = (np.arange(1, CAUSES + 1) ** -0.4).astype(np.float32)
        self._strength /= np.linalg.norm(self._strength)
        rng = np.random.default_rng([seed, 0])
        centres = rng.standard_normal((classes, CAUSES), dtype=np.float32)
        own = rng.standard_normal((len(labels), CAUSES), dtype=np.float32)
        self._points = (centres[labels] + overlap * own) / np.sqrt(1 + overlap**2)
        self._seed = seed

    def rows(self, net: int, scale: int, first: int, last: int, width: int = WIDTH) -> np.ndarray:
        """Describe images `first` to `last` by one net at one scale.

        Parameters
        ----------
        net, scale : int
            Any numbers: the weights are the net's, the positions the scale's.
        first, last : int
            Which images.
        width : int
            Units.

        Returns
        -------
        ndarray of shape (last - first, width), float32
            Not normalised.
        """
        weights = np.random.default_rng([self._seed, 1, net]).standard_normal((CAUSES, width), dtype=np.float32)
        weights *= self._strength[:, None]
        rng = np.random.default_rng([self._seed, 2, net, scale, first])
        total = np.zeros((last - first, width), np.float32)
        for _ in range(POSITIONS):
            moved = rng.standard_normal((last - first, CAUSES), dtype=np.float32)
            active = (0.8 * self._points[first:last] + 0.6 * moved) @ weights
            active -= np.float32(_THRESHOLD)
            total += np.maximum(active, 0, out=active)
        total /= POSITIONS
        return total
