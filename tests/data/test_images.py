import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

from transferbench.data.images import rescale, rescaled_size


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((500, 375), 256, (341, 256)),
        ((375, 500), 256, (256, 341)),
        ((500, 333), 384, (577, 384)),
        ((8, 8), 64, (64, 64)),
        ((3, 2), 1, (2, 1)),
    ],
)
def test_the_short_side_becomes_q_and_the_long_side_is_rounded(size, short, expected):
    assert rescaled_size(*size, short) == expected


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 800))
def test_the_aspect_ratio_is_kept_to_half_a_pixel(width, height, short):
    new = rescaled_size(width, height, short)
    assert min(new) == short
    assert abs(max(new) - max(width, height) * short / min(width, height)) <= 0.5


@pytest.fixture(scope="module")
def photograph():
    return Image.fromarray(load_sample_image("flower.jpg"))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("short", [64, 256, 600])
def test_rescaling_agrees_with_torch_antialiased(photograph, interpolation, short):
    ours = rescale(photograph, short, interpolation)
    pixels = torch.from_numpy(np.array(photograph)).permute(2, 0, 1)[None]
    theirs = (
        torch.nn.functional.interpolate(pixels, ours.shape[:2], mode=interpolation, antialias=True)[0]
        .permute(1, 2, 0)
        .numpy()
    )
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= 1  # both round to bytes, not always alike
    assert difference.mean() < 0.05


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(rescale(Image.fromarray(stripes), 16, "bicubic")[:, 2:-2].astype(int)) <= 4


def test_an_image_of_that_size_is_left_alone(photograph):
    assert (rescale(photograph, photograph.size[1], "bicubic") == np.array(photograph)).all()


def test_only_rgb_is_taken(photograph):
    with pytest.raises(ValueError, match="mode L"):
        rescale(photograph.convert("L"), 64, "bicubic")
