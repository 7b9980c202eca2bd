import numpy as np
import pytest

from transferbench.training.augment import centre_crop, generator, random_crop

IMAGE = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)


def test_every_offset_is_reached_about_equally_often_the_last_one_included():
    counts = np.zeros((3, 2), int)
    for index in range(1200):
        crop = random_crop(IMAGE, 4, flip=False, random=generator(0, 0, index))
        top, left = divmod(int(crop[0, 0, 0]) // 3, 5)
        assert (crop == IMAGE[top : top + 4, left : left + 4]).all()
        counts[top, left] += 1
    assert counts.min() > 150  # 200 expected, standard deviation 13


def test_an_image_of_the_crops_size_is_taken_whole():
    assert (random_crop(IMAGE[:5], 5, flip=False, random=generator(0, 0, 0)) == IMAGE[:5]).all()


def test_half_of_the_crops_are_mirrored():
    square = IMAGE[:5]
    mirrored = sum(
        bool((random_crop(square, 5, flip=True, random=generator(0, 0, i)) == square[:, ::-1]).all())
        for i in range(400)
    )
    assert 160 < mirrored < 240


def test_a_visit_depends_on_seed_epoch_and_image():
    draws = {key: int(generator(*key).integers(1 << 60)) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}
    assert len(set(draws.values())) == 4
    assert int(generator(0, 1, 0).integers(1 << 60)) == draws[0, 1, 0]


@pytest.mark.parametrize(("side", "first"), [(4, IMAGE[1, 0, 0]), (5, IMAGE[0, 0, 0])])
def test_the_centre_crop_is_central(side, first):
    crop = centre_crop(IMAGE, side)
    assert crop.shape == (side, side, 3)
    assert crop[0, 0, 0] == first
