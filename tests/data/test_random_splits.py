import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferbench.data.random_splits import held_out_of_every_class, low_shot_splits, random_splits, ranked
from transferbench.data.record import load_record
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


def by_hash(ids, seed, number):
    return sorted(ids, key=lambda i: hashlib.sha256(f"{seed}/{number}/{i}".encode()).hexdigest())


def test_splits_are_those_that_anyone_can_compute_from_the_stated_rule():
    """Of 13 training images a fifth is 2.6: the first 3 by rank choose C, the next 10 are fitted on, the next 4 test."""
    labels = labelled(20, 15)
    found = split(labels, seed=9, train_per_class=13, test_per_class=4)
    assert [one.name for one in found] == ["1 of 3", "2 of 3", "3 of 3"]
    for number, one in enumerate(found, 1):
        orders = [by_hash([i for i in labels.by_id if i.startswith(name)], 9, number) for name in ("c0", "c1")]
        for part, (start, end) in {"validation": (0, 3), "fit": (3, 13), "test": (13, 17)}.items():
            assert list(getattr(one, part)) == sorted(i for order in orders for i in order[start:end]), (number, part)


def test_one_image_in_ten_of_every_class_is_watched_at_least_one():
    labels = labelled(39, 4)
    training, watched = held_out_of_every_class(labels.by_id, labels, 6)
    orders = [by_hash([i for i in labels.by_id if i.startswith(name)], 6, 0) for name in ("c0", "c1")]
    assert list(watched) == sorted([*orders[0][:3], orders[1][0]])
    assert list(training) == sorted(labels.by_id.keys() - set(watched))


def test_few_training_images_are_the_first_of_the_split_by_rank():
    record = load_record("digits")
    labels = labelled(30, 30)
    whole = split(labels, seed=record.protocol.seed)
    for number, one in enumerate(low_shot_splits(record, labels, whole, 7), 1):
        members = [[i for i in whole[number - 1].train if i.startswith(name)] for name in ("c0", "c1")]
        orders = [by_hash(ids, record.protocol.seed, number) for ids in members]
        assert list(one.validation) == sorted(order[0] for order in orders)  # a fifth of 7 is 1.4
        assert list(one.fit) == sorted(i for order in orders for i in order[1:7])
        assert one.test == whole[number - 1].test
