"""Rows of images, repeated for the people in them."""

import numpy as np
import pytest

from transferbench.errors import FeatureError
from transferbench.evaluation.shared import shared


@pytest.mark.parametrize("length", [1, 7, 64, 1000])
@pytest.mark.parametrize("chunk", [1, 5, 50])
def test_every_person_has_the_row_of_the_image(make_source, chunk, length):
    rng = np.random.default_rng(3)
    images = tuple(f"{k:03d}" for k in range(90))
    rows = rng.standard_normal((90, 4)).astype(np.float32)
    whose = np.repeat(np.arange(90), rng.choice([0, 1, 1, 2, 9], 90))  # some images have nobody, some a crowd
    people = tuple(f"{images[k]}#{n}" for n, k in enumerate(whose))
    source = shared(make_source(rows, images, chunk=chunk), people, [images[k] for k in whose], length)
    for _ in range(2):  # sources are read more than once
        chunks = list(source.chunks())
        assert [len(c) for c in chunks[:-1]] == [length] * (len(chunks) - 1)
        np.testing.assert_array_equal(np.concatenate(chunks), rows[whose])
    assert source.ids == people


@pytest.mark.parametrize("whose", [["b", "a"], ["a", "c"]])
def test_another_order_or_a_missing_row_is_refused(make_source, whose):
    with pytest.raises(FeatureError, match="do not stand for these ids"):
        shared(make_source(np.ones((2, 3), np.float32), ("a", "b")), ("x", "y"), whose, 2)
