"""Descriptors of a small imaginary dataset: as sources in memory, and as blocks on disk."""

import numpy as np
import pytest

from transferbench.evaluation.aggregate import Source


def source(array, ids, name="net A at 64 px", chunk=50):
    return Source(name, ids, lambda: (array[start : start + chunk] for start in range(0, len(array), chunk)))


@pytest.fixture
def make_source():
    return source


@pytest.fixture
def nets():
    """Two nets of three scales each: (labels, ids, arrays[net][scale])."""
    rng = np.random.default_rng(5)
    labels = np.arange(240) % 6
    ids = tuple(f"image-{i:03d}" for i in range(240))
    arrays = []
    for size in (30, 20):
        centres = rng.standard_normal((6, size))
        arrays.append(
            [
                np.maximum(scale * (centres[labels] + 1.3 * rng.standard_normal((240, size))), 0).astype(np.float32)
                + np.float32(0.01)
                for scale in np.float32([1.0, 3.0, 0.2])
            ]
        )
    return labels, ids, arrays
