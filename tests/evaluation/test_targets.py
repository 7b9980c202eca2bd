"""Labels as targets: which side an image is on, and labels that belong to other images."""

import numpy as np

from transferbench.evaluation.targets import one_vs_rest, shuffled
from transferbench.types.labels import ClassLabels
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
