"""The way is chosen by shape, and says why."""

import pytest

from transferbench.evaluation.svm.choice import choose, memory_of_machine


@pytest.mark.parametrize(
    ("n", "d", "classes", "way"),
    [
        (15_420, 12_288, 257, "gram"),
        (200_000, 4_096, 100, "rows"),
        (5_011, 4_096, 20, "gram"),
        (30_000, 64, 10, "rows"),
    ],
)
def test_choice_by_shape(n, d, classes, way):
    assert choose(n, d, classes, memory_bytes=16 << 30).way == way


def test_less_memory_changes_the_choice_and_the_reason_says_so():
    assert choose(20_000, 8_192, 100, memory_bytes=64 << 30).way == "gram"
    small = choose(20_000, 8_192, 100, memory_bytes=2 << 30)
    assert small.way == "rows"
    assert small.reason == "a Gram matrix of 20,000 images takes 1.5 GiB, more than 40% of 2 GiB"


def test_memory_of_this_machine_is_known():
    assert memory_of_machine() > 1 << 28
