import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferbench.data.random_splits import random_splits, ranked
from transferbench.errors import DatasetError
from transferbench.types.labels import ClassLabels


def labelled(*sizes):
    names = [f"c{k}" for k in range(len(sizes))]
    return ClassLabels(
        classes=tuple(names),
        by_id={f"{name}-{i}": k for k, (name, n) in enumerate(zip(names, sizes, strict=True)) for i in range(n)},
    )


def split(labels, **changes):
    settings = {"n_splits": 3, "seed": 1, "train_per_class": 10, "test_per_class": None, "validation_fraction": 0.2}
    return random_splits(labels, **{**settings, **changes})


def test_the_rank_is_the_sha256_that_anyone_can_compute():
    ids = ["a", "b", "c", "d"]
    assert ranked(ids, 7, 2) == sorted(ids, key=lambda i: hashlib.sha256(f"7/2/{i}".encode()).hexdigest())


@given(
    st.lists(st.integers(11, 25), min_size=2, max_size=5), st.integers(0, 99), st.one_of(st.none(), st.integers(1, 30))
)
def test_splits_are_what_the_protocol_says(sizes, seed, test_per_class):
    labels = labelled(*sizes)
    for one in split(labels, seed=seed, test_per_class=test_per_class):
        assert len({*one.fit, *one.validation, *one.test}) == len(one.fit) + len(one.validation) + len(one.test)
        for number, size in enumerate(sizes):
            count = [sum(labels.by_id[i] == number for i in part) for part in (one.fit, one.validation, one.test)]
            assert count == [8, 2, min(size - 10, test_per_class or size)]


def test_splits_differ_from_each_other_and_with_the_seed():
    labels = labelled(30, 30)
    hashes = {one.sha256 for seed in (1, 2) for one in split(labels, seed=seed)}
    assert len(hashes) == 6


def test_the_order_of_the_input_does_not_matter():
    labels = labelled(30, 30)
    backwards = ClassLabels(classes=labels.classes, by_id=dict(reversed(labels.by_id.items())))
    assert [s.sha256 for s in split(labels)] == [s.sha256 for s in split(backwards)]


def test_another_image_does_not_reshuffle_the_others():
    fewer, more = split(labelled(30, 30))[0], split(labelled(30, 31))[0]
    assert [i for i in more.train if i.startswith("c0")] == [i for i in fewer.train if i.startswith("c0")]


def test_a_class_that_is_too_small_is_named():
    with pytest.raises(DatasetError, match="class 'c1' has 10 images; 10 for training"):
        split(labelled(30, 10))


def test_training_images_must_suffice_for_a_validation_part():
    with pytest.raises(DatasetError, match="leave none to fit on"):
        split(labelled(30, 30), train_per_class=1)
