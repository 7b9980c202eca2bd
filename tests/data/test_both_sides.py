"""Every class on both sides of a division, wherever it has two images; by rank alone where chance sees to that."""

import numpy as np
import pytest

from transferbench.data.both_sides import held_out

ORDER = ["a", "b", "c", "d", "e", "f"]


def test_a_division_with_every_class_on_both_sides_is_the_first_by_rank():
    shown = {"a": {0}, "b": {1}, "c": {0}, "d": {1}, "e": (), "f": {0, 1}}
    assert held_out(ORDER, 2, shown) == {"a", "b"}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"a": {0}, "b": {0}, "c": {0}, "d": {1}, "e": {1}, "f": {1}}, {"a", "b", "d"}),  # the first that shows it
        ({"a": {0}, "b": {0}, "c": {0}, "d": {0, 1}, "e": {1}, "f": {2}}, {"a", "b", "d"}),  # 2 has one image: it stays
        ({"a": {0}, "b": {0, 1}, "c": {1}, "d": {1}, "e": (), "f": (1,)}, {"b"}),  # the rest lacked 0
        # d would take the last image of class 2 from the rest, so e goes over
        ({"a": {0}, "b": {0, 2}, "c": {0}, "d": {1, 2}, "e": {1}, "f": (1,)}, {"a", "b", "e"}),
        ({"a": {0}, "b": {0}, "c": {0}, "d": (), "e": (), "f": {1}}, {"a", "b"}),  # a single image of 1
    ],
)
def test_as_few_images_as_possible_are_exchanged(shown, expected):
    assert held_out(ORDER, 2, shown) == expected


def test_no_class_of_two_images_stays_on_one_side_of_a_random_division():
    """One class an image: each can be had on both sides, whatever the others do."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        classes = rng.integers(12, size=40)
        order = [f"{k:02d}" for k in rng.permutation(40)]
        held = held_out(order, 8, {i: {int(classes[int(i)])} for i in order})
        sides = [{int(classes[int(i)]) for i in side} for side in (held, set(order) - held)]
        twice = {int(k) for k in classes if (classes == k).sum() > 1}
        assert twice <= sides[0] & sides[1]
        assert len(held) <= 8 + 12
