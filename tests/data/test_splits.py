"""Divisions that a record states, worked by hand from lists of ids: no files, no survey."""

import hashlib

import pytest

from transferbench.data.protocols import FixedSplit, ServerTest, TrainTest
from transferbench.data.record import load_record
from transferbench.data.splits import audit, official_split, split_text, splits_of
from transferbench.errors import DatasetError
from transferbench.types.labels import ClassLabels, MultiLabels
from transferbench.types.split import Split

LOCAL = TrainTest(kind="train_test", train="train", test="val", validation_fraction=0.2, seed=5)
SIZES = {"a": 8, "b": 3, "c": 2, "d": 14}
"""A fifth of them, rounded, at least one: 2 of 1.6, 1 of 0.6, 1 of 0.4, 3 of 2.8."""


def record(protocol, name="coco2014"):
    return load_record(name).model_copy(update={"protocol": protocol})


@pytest.fixture
def singles():
    """Labels and parts of a dataset with one class per image, of very unequal classes."""
    ids = {name: [f"{name}{k}" for k in range(size)] for name, size in SIZES.items()}
    by_id = {i: k for k, name in enumerate(SIZES) for i in (*ids[name], f"{name}-test")}
    parts = {
        "train": tuple(i for members in ids.values() for i in members),
        "val": tuple(f"{name}-test" for name in SIZES),
    }
    return ClassLabels(classes=tuple(SIZES), by_id=by_id), parts


def several(parts):
    return MultiLabels(classes=("x", "y"), by_id={i: (1, -1) for ids in parts.values() for i in ids})


def first_by_hash(ids, seed, count):
    return sorted(ids, key=lambda i: hashlib.sha256(f"{seed}/0/{i}".encode()).hexdigest())[:count]


def test_a_fifth_of_every_class_chooses_C_rounded_and_at_least_one(singles):
    labels, parts = singles
    (split,) = splits_of(record(LOCAL), labels, parts)
    of_class = {name: [i for i in parts["train"] if i.startswith(name)] for name in SIZES}
    wanted = {"a": 2, "b": 1, "c": 1, "d": 3}
    expected = sorted(i for name, count in wanted.items() for i in first_by_hash(of_class[name], 5, count))
    assert list(split.validation) == expected
    assert sorted((*split.fit, *split.validation)) == sorted(parts["train"])
    assert list(split.test) == sorted(parts["val"])


def test_images_with_several_classes_are_divided_as_one_class(singles):
    _, parts = singles
    (split,) = splits_of(record(LOCAL), several(parts), parts)
    assert list(split.validation) == sorted(first_by_hash(parts["train"], 5, 5))  # a fifth of 27 is 5.4


def test_a_rare_class_among_several_is_on_both_sides(singles):
    """Two images show it, both among those that would be fitted on; people of one image go together."""
    _, parts = singles
    order = first_by_hash(parts["train"], 5, 27)
    rare = {order[9], order[20]}
    labels = MultiLabels(classes=("x", "y"), by_id={i: (1, 1 if i in rare else -1) for i in sum(parts.values(), ())})
    (split,) = splits_of(record(LOCAL), labels, parts)
    assert set(split.validation) == {*order[:5], order[9]}
    people = {"train": tuple(f"{i}#{k}" for i in parts["train"] for k in (1, 2)), "val": ("v#1",)}
    by_person = MultiLabels(
        classes=("x", "y"),
        by_id={p: (1, 1 if p.rpartition("#")[0] in rare and p.endswith("2") else 0) for p in sum(people.values(), ())},
    )
    (split,) = splits_of(record(LOCAL, "voc2012_action"), by_person, people)
    assert set(split.validation) == {f"{i}#{k}" for i in (*order[:5], order[9]) for k in (1, 2)}


def test_given_lists_stay_what_they_are_called():
    parts = {"train": ("t2", "t1"), "val": ("v1",), "test": ("s1", "s2")}
    fixed = FixedSplit(kind="fixed_split", fit="train", validation="val", test="test")
    (split,) = splits_of(record(fixed), several(parts), parts)
    assert (split.fit, split.validation, split.test) == (("t1", "t2"), ("v1",), ("s1", "s2"))
    server = ServerTest(
        kind="server_test", fit="train", validation="val", test="test", competition="comp2", local=LOCAL
    )
    official = official_split(record(server), parts)
    assert (official.fit, official.validation, official.test) == (split.fit, split.validation, split.test)
    assert official_split(record(server), {**parts, "test": ()}) is None
    assert official_split(record(fixed), parts) is None


@pytest.mark.parametrize("test", [("s1", "v1"), ("s1", "t1"), ("s1", "s1")])
def test_no_division_leaves_unaudited(test):
    parts = {"train": ("t1", "t2"), "val": ("v1",), "test": test}
    fixed = FixedSplit(kind="fixed_split", fit="train", validation="val", test="test")
    server = ServerTest(
        kind="server_test", fit="train", validation="val", test="test", competition="comp2", local=LOCAL
    )
    with pytest.raises(DatasetError, match="test"):
        splits_of(record(fixed), several(parts), parts)
    with pytest.raises(DatasetError, match="test"):
        official_split(record(server), parts)


def test_an_image_to_fit_on_may_not_choose_C():
    with pytest.raises(DatasetError, match="b, are in both fit and validation"):
        audit("any", Split(name="1", fit=("a", "b"), validation=("b",), test=("c",)))


def test_a_split_is_written_part_by_part():
    split = Split(name="1 of 1", fit=("a", "b"), validation=("c",), test=("d",))
    head, *lines = split_text("any", split).splitlines()
    assert head == f"# any, split 1 of 1, ids sha256 {split.sha256}"
    assert lines == ["fit\ta", "fit\tb", "validation\tc", "test\td"]
