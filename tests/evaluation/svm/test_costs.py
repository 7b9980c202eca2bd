"""What `tb plan` says of the SVMs, held against what was measured."""

import dataclasses

import pytest

from transferbench.evaluation.svm.costs import Shape, memory_bytes, seconds
from transferbench.types.split import Split

CALTECH_256 = Shape(
    images=30_607,
    everyone=25_780,
    fit=(12_336,) * 3,
    train=(15_420,) * 3,
    test=(15_187,) * 3,
    parts=(4096,) * 6,
    classes=257,
    tried=5,
)


def test_an_estimate_is_near_what_was_measured():
    # benchmarks/protocol.py on the whole recipe: steps, peak and rate of a matrix product of one run (NOTES.md).
    found = dataclasses.asdict(seconds(CALTECH_256, "gram", 196e9))
    measured = {"gram": 132, "choosing": 83, "training": 15, "testing": 23}
    assert found == pytest.approx(measured, rel=0.5)
    assert sum(found.values()) == pytest.approx(262, rel=0.25)
    assert memory_bytes(CALTECH_256, "gram", 25e9) / 2**30 == pytest.approx(4.1, rel=0.1)


def test_an_estimate_of_the_hinge_is_near_what_was_measured():
    # benchmarks/svm.py --n 15420 --d 12288 --classes 257 --loss hinge.
    shape = dataclasses.replace(CALTECH_256, everyone=15_420, fit=(12_336,), train=(15_420,), test=(1_542,), tried=5)
    found = seconds(shape, "gram", 203e9, "hinge")
    assert [found.choosing, found.training] == pytest.approx([68.1, 16.1], rel=0.5)


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_more_of_anything_takes_longer(loss):
    for way in ("gram", "rows"):
        base = seconds(CALTECH_256, way, 1e11, loss).total
        for change in ({"images": 40_000}, {"train": (16_000,) * 3}, {"parts": (4096,) * 7}, {"classes": 300},
                       {"test": (20_000,) * 3}, {"tried": 6}, {"fit": (13_000,) * 3}):  # fmt: skip
            assert seconds(dataclasses.replace(CALTECH_256, **change), way, 1e11, loss).total > base, (way, change)
        assert seconds(CALTECH_256, way, 2e11, loss).total < base


def test_rows_count_where_they_are_kept():
    held = memory_bytes(CALTECH_256, "rows", 25e9)
    assert held - memory_bytes(CALTECH_256, "rows", 1e9) == 4 * 15_420 * 24_576
    one = dataclasses.replace(CALTECH_256, everyone=15_420, fit=(12_336,), train=(15_420,), test=(1000,))
    # A single split needs no matrix of its own beside that of all images it trains on, but one to choose C on.
    assert memory_bytes(one, "gram", 25e9) < memory_bytes(CALTECH_256, "gram", 25e9)


def test_a_shape_counts_every_image_once():
    def split(name, fit, validation, test):
        return Split(name=name, fit=tuple(fit), validation=tuple(validation), test=tuple(test))

    found = Shape.of([split("1", "ab", "c", "de"), split("2", "bc", "", "ade")], 6, [8, 4], 2, 3)
    assert (found.everyone, found.fit, found.train, found.test) == (3, (2, 0), (3, 2), (2, 3))
