"""Copies of a photograph are found among other photographs, however they were saved."""

import io

import numpy as np
import pytest
from PIL import Image

from transferbench.data.alike import MOST_SIGNS, alike, signs_of


def saved(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


@pytest.fixture
def crops(photographs):
    rng = np.random.default_rng(4)
    places = rng.integers(0, 200, size=(60, 2))
    return [photographs[k % 2].crop((x, y, x + 220, y + 220)) for k, (x, y) in enumerate(places)]


def test_most_copies_are_found(crops):
    originals = [saved(crop, 90) for crop in crops]
    copies = [saved(original.resize((176, 176), Image.Resampling.BICUBIC), 80) for original in originals]
    found = sum(
        bool(alike([signs_of(original), signs_of(copy)])) for original, copy in zip(originals, copies, strict=True)
    )
    assert found >= 0.8 * len(crops)


def test_pairs_are_those_of_a_plain_comparison():
    rng = np.random.default_rng(9)
    base = rng.integers(0, 2, size=(40, 64), dtype=np.uint8)
    near = base.copy()
    for row, n in zip(near, rng.integers(0, 7, 40), strict=True):
        row[rng.choice(64, n, replace=False)] ^= 1
    bits = np.concatenate([base, near, np.zeros((3, 64), np.uint8)])
    expected = [
        (a, b)
        for a in range(80)
        for b in range(a + 1, 80)
        if int((bits[a] != bits[b]).sum()) <= MOST_SIGNS  # the last three have no sign
    ]
    assert len(expected) > 10
    assert alike([np.packbits(row).tobytes() for row in bits]) == expected


def test_nothing_looks_like_nothing():
    assert alike([]) == []
    assert alike([signs_of(Image.new("RGB", (30, 20), "white"))] * 2) == []
