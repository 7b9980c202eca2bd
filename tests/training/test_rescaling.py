"""The fast way to a training square, held to the exact one: the whole image, rescaled by Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

from transferbench.data.encoded import EncodedPictures, FileImages
from transferbench.data.images import rescale
from transferbench.training.rescaling import rescaled


def photograph(size, **options):
    from sklearn.datasets import load_sample_images

    file = io.BytesIO()
    mode = options.pop("mode", "RGB")
    image = Image.fromarray(load_sample_images().images[0]).resize(size, Image.Resampling.BICUBIC).convert(mode)
    image.save(file, options.pop("format", "JPEG"), **options)
    return file.getvalue()


class Counting:
    def __init__(self):
        self.asked = []

    def __call__(self, pixels, height, width, interpolation):
        self.asked.append((height, width))
        return rescaled(pixels, height, width, interpolation)


def picture(tmp_path, data, rescaler, interpolation="bicubic"):
    (tmp_path / "photo.jpg").write_bytes(data)
    return EncodedPictures(FileImages([str(tmp_path / "photo.jpg")]), interpolation, exact=False, rescaler=rescaler)(0)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("size", "short_side"), [((500, 375), 256), ((375, 500), 384), ((333, 500), 256)])
def test_pixels_are_those_of_the_exact_way_up_to_rounding(tmp_path, size, short_side, interpolation):
    data, rescaler = photograph(size, quality=95), Counting()
    whole = rescale(Image.open(io.BytesIO(data)), short_side, interpolation).astype(int)
    height, width = whole.shape[:2]
    for top, left in ((0, 0), (height - 224, width - 224), (17, 9)):
        square = picture(tmp_path, data, rescaler, interpolation).crop(short_side, top, left, 224)
        off = np.abs(square - whole[top : top + 224, left : left + 224])
        assert square.shape == (224, 224, 3)
        assert off.max() <= 2
        assert (off > 0).mean() < 0.01
    assert rescaler.asked == [(height, width)] * 3


@pytest.mark.parametrize("options", [{"mode": "L"}, {"mode": "CMYK"}, {"mode": "P", "format": "PNG"}])
def test_every_mode_is_rescaled_as_rgb(tmp_path, options):
    data, rescaler = photograph((500, 375), **options), Counting()
    off = np.abs(
        picture(tmp_path, data, rescaler).crop(256, 3, 5, 224).astype(int)
        - picture(tmp_path, data, None).crop(256, 3, 5, 224)
    )
    assert off.max() <= 2
    assert rescaler.asked == [(256, 341)]


@pytest.mark.parametrize(
    ("size", "short_side"),
    [
        ((500, 375), 512),  # seven times the pixels of the square
        ((1401, 1051), 256),  # decoded at half its size, the last pixels cut
        ((341, 256), 256),  # of the right size
    ],
)
def test_what_is_much_larger_than_the_square_reduced_or_right_goes_the_other_way(tmp_path, size, short_side):
    data, rescaler = photograph(size), Counting()
    with_it = picture(tmp_path, data, rescaler).crop(short_side, 3, 5, 224)
    assert (with_it == picture(tmp_path, data, None).crop(short_side, 3, 5, 224)).all()
    assert rescaler.asked == []
