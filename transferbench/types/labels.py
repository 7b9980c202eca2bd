"""What images show: one class each, or any number of them. The kind of labels selects the metric."""

from dataclasses import dataclass

import numpy as np

from transferbench.types.arrays import Int8, Int64


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLabels:
    """Exactly one class per image; selects mean class recall as the metric.

    Parameters
    ----------
    classes : tuple of str
        K class names; their position is the class number.
    by_id : dict of str to int
        Class number of every image id.
    """

    classes: tuple[str, ...]
    by_id: dict[str, int]

    def of(self, ids: tuple[str, ...]) -> Int64:
        """Look up class numbers.

        Parameters
        ----------
        ids : tuple of str
            N image ids.

        Returns
        -------
        ndarray of shape (N,), int64
            In ``range(K)``.
        """
        return np.array([self.by_id[i] for i in ids], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiLabels:
    """Any number of classes per image; selects mean average precision as the metric.

    Parameters
    ----------
    classes : tuple of str
        K class names.
    by_id : dict of str to tuple of int
        For every image id K values: +1 present, -1 absent, 0 difficult (left out, for this class, of training and of
        evaluation).
    """

    classes: tuple[str, ...]
    by_id: dict[str, tuple[int, ...]]

    def of(self, ids: tuple[str, ...]) -> Int8:
        """Look up labels.

        Parameters
        ----------
        ids : tuple of str
            N image ids.

        Returns
        -------
        ndarray of shape (N, K), int8
            +1, -1 or 0.
        """
        return np.array([self.by_id[i] for i in ids], dtype=np.int8).reshape(len(ids), len(self.classes))


Labels = ClassLabels | MultiLabels
"""The kind of labels selects the metric."""
