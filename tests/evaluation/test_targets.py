"""Labels as targets: which side an image is on, and labels that belong to other images."""

import dataclasses

import numpy as np
import pytest

from transferbench.errors import EvaluationError
from transferbench.evaluation.targets import one_vs_rest, require_classes, shuffled, targets_of
from transferbench.types.labels import ClassLabels, MultiLabels
from transferbench.types.split import Split


def test_targets_are_one_against_the_rest():
    assert one_vs_rest(np.array([0, 2]), 3).tolist() == [[1, -1, -1], [-1, -1, 1]]


def test_shuffling_keeps_the_number_of_images_of_every_class_in_every_part():
    ids = [f"{number:03d}" for number in range(300)]
    labels = ClassLabels(classes=tuple("abcde"), by_id={i: int(i) % 7 % 5 for i in ids})
    split = Split(name="1", fit=tuple(ids[:150]), validation=tuple(ids[150:220]), test=tuple(ids[220:]))
    mixed = shuffled(labels, split, 0)
    for part in (split.fit, split.validation):
        assert sorted(mixed.of(part)) == sorted(labels.of(part))
        assert (mixed.of(part) != labels.of(part)).mean() > 0.5
    assert (mixed.of(split.test) == labels.of(split.test)).all()
    for other in (shuffled(labels, split, 1), shuffled(labels, dataclasses.replace(split, name="2"), 0)):
        assert (other.of(split.fit) != mixed.of(split.fit)).mean() > 0.5


def test_shuffling_moves_all_labels_of_an_image_together():
    rng = np.random.default_rng(0)
    ids = tuple(f"{number:03d}" for number in range(60))
    labels = MultiLabels(classes=tuple("abc"), by_id={i: tuple(map(int, rng.integers(-1, 2, 3))) for i in ids})
    split = Split(name="1", fit=ids[:30], validation=ids[30:50], test=ids[50:])
    mixed = shuffled(labels, split, 0)
    for part in (split.fit, split.validation):
        assert sorted(mixed.by_id[i] for i in part) == sorted(labels.by_id[i] for i in part)
        assert (mixed.of(part) != labels.of(part)).any(axis=1).mean() > 0.5
    assert [mixed.by_id[i] for i in split.test] == [labels.by_id[i] for i in split.test]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, -1, 1), (-1, 1, -1)], None),
        ([(1, -1, -1), (-1, 0, 0)], r"class 'b' has no positive image to fit on in split 1 \(and 1 more classes\)\."),
        ([(1, 1, 1), (-1, -1, 0)], r"class 'c' has no negative image to fit on in split 1\."),
    ],
)
def test_a_class_needs_images_on_both_sides_and_difficult_ones_are_on_neither(rows, message):
    labels = MultiLabels(classes=tuple("abc"), by_id=dict(zip("xy", rows, strict=True)))
    split = Split(name="1", fit=("x", "y"), validation=(), test=("z",))
    if message is None:
        assert targets_of(labels, split, ("y", "x"), "fit on").tolist() == [list(row) for row in rows[::-1]]
    else:
        with pytest.raises(EvaluationError, match=message):
            targets_of(labels, split, split.fit, "fit on")


@pytest.mark.parametrize(
    ("part", "use"), [("fit", "fit on"), ("validation", "choose C on"), ("test", "test on"), (None, None)]
)
def test_every_class_has_images_in_every_part_before_anything_is_fitted(part, use):
    ids = {"fit": ("a", "b", "c"), "validation": ("d", "e"), "test": ("f", "g")}
    split = Split(name="1", **ids)
    labels = ClassLabels(classes=("x", "y"), by_id={i: int(i in "ceg") for i in "abcdefg"})
    if part is None:
        require_classes(labels, split)
        return
    lacking = dataclasses.replace(labels, by_id=labels.by_id | dict.fromkeys(ids[part], 0))
    with pytest.raises(EvaluationError, match=f"class 'y' has no positive image to {use} in split 1"):
        require_classes(lacking, split)
