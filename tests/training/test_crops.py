"""What is drawn for a training crop, held to the numbers of the code it comes from and to the laws it should follow."""

import numpy as np
import pytest
from scipy import stats

from transferbench.training.augment import (
    PCA_STDS,
    PCA_VECTORS,
    AugmentOptions,
    colour_shift,
    generator,
    held_out_crop,
    training_crop,
)

PAPER = {"crop": 224, "short_sides": (256, 256), "flip": True, "colour_shift": 0.1, "seed": 5}


class Grid:
    """An image of 3:4 that remembers what was asked for, and gives two pixels by which a mirror image is known."""

    def size_at(self, short_side_px):
        return short_side_px, short_side_px * 4 // 3

    def crop(self, short_side_px, top, left, side_px):
        self.asked = (short_side_px, top, left)
        return np.array([[[0, 0, 0], [0, 1, 0]]], dtype=np.uint8)


def visits(n, **options):
    grid, asked = Grid(), []
    chosen = AugmentOptions(**PAPER | options)
    for row in range(n):
        crop, shift = training_crop(grid, chosen, generator(chosen.seed, row % 3, row))
        asked.append((*grid.asked, bool(crop[0, 0, 1] != 0), shift))
    return asked


def test_every_position_is_equally_likely_the_last_ones_included():
    seen = visits(20_000, crop=250)
    counts = np.zeros((7, 92), int)
    for _, top, left, _, _ in seen:
        counts[top, left] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 0.01
    assert stats.chisquare(counts.sum(axis=1)).pvalue > 0.01
    assert counts.all()


def test_half_are_mirrored_whatever_the_position():
    seen = visits(6_000, crop=250)
    table = np.zeros((7, 2), int)
    for _, top, _, mirrored, _ in seen:
        table[top, int(mirrored)] += 1
    assert stats.binomtest(int(table[:, 1].sum()), 6_000, 0.5).pvalue > 0.01
    assert stats.chi2_contingency(table).pvalue > 0.01
    assert not any(mirrored for *_, mirrored, _ in visits(100, flip=False))


def test_the_jittered_scale_is_any_whole_number_of_the_range_both_ends_included():
    sides = [side for side, *_ in visits(12_000, short_sides=(256, 512))]
    counts = np.bincount(sides, minlength=513)[256:]
    assert len(counts) == 257
    assert stats.chisquare(counts).pvalue > 0.01
    assert AugmentOptions(**PAPER | {"short_sides": (256, 512)}).held_out_short_side == 384  # the paper's Q


def test_a_side_as_long_as_the_crop_leaves_one_position():
    assert all(top == 0 for _, top, *_ in visits(50, crop=256))


def test_the_components_of_colour_are_orthonormal_and_the_first_is_brightness():
    assert np.allclose(PCA_VECTORS.T @ PCA_VECTORS, np.eye(3), atol=1e-6)
    brightest = PCA_VECTORS[:, PCA_STDS.argmax()]
    assert np.allclose(np.abs(brightest), 3**-0.5, atol=0.02)
    assert len(set(np.sign(brightest))) == 1


def test_the_spread_of_the_colour_shift_is_that_of_krizhevskys_formula():
    shifts = np.stack([colour_shift(0.1, generator(0, 0, row)) for row in range(20_000)]).astype(float)
    covariance = PCA_VECTORS @ np.diag((0.1 * PCA_STDS) ** 2) @ PCA_VECTORS.T
    assert np.allclose(np.cov(shifts.T), covariance, rtol=0.06, atol=1.5)
    assert np.allclose(shifts.mean(axis=0), 0, atol=0.25)
    # By hand, from 0-255 stdevs x 0.1: 7.4, 7.1 and 7.7 grey levels on red, green and blue; not 0.1, not 1,000.
    assert np.allclose(shifts.std(axis=0), [7.40, 7.26, 7.71], atol=0.15)


def test_the_factors_of_the_components_are_normal_and_independent():
    shifts = np.stack([colour_shift(0.1, generator(1, 0, row)) for row in range(5_000)]).astype(float)
    factors = shifts @ PCA_VECTORS / PCA_STDS
    for factor in factors.T:
        assert stats.kstest(factor, stats.norm(0, 0.1).cdf).pvalue > 0.01
    assert abs(np.corrcoef(factors.T)[~np.eye(3, dtype=bool)]).max() < 0.05  # standard deviation 0.014


def test_the_shift_is_one_for_all_pixels_and_anew_at_every_visit():
    shifts = np.stack([shift for *_, shift in visits(50)])
    assert shifts.shape == (50, 3)
    assert shifts.dtype == np.float32
    assert len(np.unique(shifts, axis=0)) == 50
    assert not np.stack([shift for *_, shift in visits(5, colour_shift=0.0)]).any()


def test_what_does_not_vary_draws_nothing_so_that_old_runs_keep_their_crops():
    places = [visit[1:4] for visit in visits(40, colour_shift=0.0)]
    assert places == [visit[1:4] for visit in visits(40)]
    by_hand = []
    for row in range(40):
        random = generator(5, row % 3, row)
        top, left = int(random.integers(0, 32, endpoint=True)), int(random.integers(0, 117, endpoint=True))
        by_hand.append((top, left, bool(random.integers(2))))
    assert places == by_hand


def test_the_held_out_crop_is_central():
    grid = Grid()
    held_out_crop(grid, AugmentOptions(**PAPER))
    assert grid.asked == (256, 16, 58)  # 341 - 224 = 117: one pixel more on the right


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 300}, "a crop of 300 px, short sides from 256 to 256 px"),
        ({"short_sides": (512, 256)}, "from 512 to 256"),
        ({"colour_shift": -0.1}, "cannot be negative"),
    ],
)
def test_impossible_options_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        AugmentOptions(**PAPER | change)
