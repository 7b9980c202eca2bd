from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from transferbench.errors import FeatureError
from transferbench.types import (
    ClassLabels,
    DescriptorSpec,
    MultiLabels,
    NetSpec,
    Preprocessing,
    Scales,
    Split,
    check_rows,
)

SPEC = DescriptorSpec(
    dataset="digits",
    images_sha256="a" * 64,
    net=NetSpec(name="D"),
    weights_sha256="b" * 64,
    preprocessing=Preprocessing(),
    short_side_px=256,
)


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("256..768", (256, 384, 512, 640, 768)),
        ("64..128:32", (64, 96, 128)),
        ("256,384,512", (256, 384, 512)),
        ("256, 300", (256, 300)),
        ("384", (384,)),
        ("256..256", (256,)),
    ],
)
def test_scales_are_read(text, sides):
    assert Scales.parse(text).sides_px == sides


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("256..700", "not a whole number of 128-pixel steps"),
        ("768..256", "not a whole number"),
        ("256..512:0", "not a whole number"),
        ("512,256", "write 256,512"),
        ("256,256", "without repeats"),
        ("0", "at least 1 px"),
        ("", "neither a range"),
        ("256-768", "neither a range"),
    ],
)
def test_wrong_scales_say_what_to_write(text, problem):
    with pytest.raises(ValueError, match=problem):
        Scales.parse(text)


def test_scales_print_as_a_list_that_can_be_read_again():
    scales = Scales.parse("256..768")
    assert Scales.parse(str(scales)) == scales


@pytest.mark.parametrize(
    "settings", [{"width": 0.01}, {"width": 0}, {"width": 8}, {"crop": 100}, {"crop": 16}, {"n_classes": 1}]
)
def test_impossible_nets_are_refused(settings):
    with pytest.raises(ValueError, match=r"width|crop|n_classes"):
        NetSpec(name="A", **settings)


def leaves(value, path=()):
    """Every leaf field of nested dataclasses, as a path of names."""
    for field in fields(value):
        inner = getattr(value, field.name)
        yield from leaves(inner, (*path, field.name)) if is_dataclass(inner) else [(*path, field.name)]


def changed(value, path):
    """The same value with one leaf changed; a kind of field that nobody taught this test fails it."""
    name, *rest = path
    old = getattr(value, name)
    if rest:
        return replace(value, **{name: changed(old, rest)})
    choices = {"pool_rounding": "floor", "channel_order": "BGR", "interpolation": "bilinear", "region": "box"}
    match old:
        case bool():
            new = not old
        case str():
            new = choices.get(name, old + "x")
        case int():
            new = old + 32
        case float():
            new = old / 2
        case tuple():
            new = (old[0] + 1, *old[1:])
        case _:
            pytest.fail(f"teach this test to change {name}, a {type(old).__name__}")
    return replace(value, **{name: new})


@pytest.mark.parametrize("path", list(leaves(SPEC)), ids=".".join)
def test_every_field_of_the_spec_changes_its_key(path):
    assert changed(SPEC, path).key() != SPEC.key()


def test_the_spec_has_the_fields_that_change_a_descriptor():
    names = {".".join(path) for path in leaves(SPEC)}
    assert {
        "weights_sha256",
        "net.pool_rounding",
        "preprocessing.interpolation",
        "images_sha256",
        "flip",
        "region",
    } <= names


def test_equal_specs_have_equal_keys():
    assert replace(SPEC).key() == SPEC.key()
    assert SPEC.at(512).at(256).key() == SPEC.key()


def test_a_spec_is_plain_json():
    assert SPEC.to_dict()["preprocessing"]["mean"] == [123.68, 116.779, 103.939]


@pytest.mark.parametrize(("value", "word"), [(np.nan, "not finite"), (np.inf, "not finite")])
def test_a_value_that_is_not_finite_names_its_image(value, word):
    rows = np.ones((3, 4), np.float32)
    rows[1, 2] = value
    with pytest.raises(FeatureError, match=f"'b'.*{word}"):
        check_rows(("a", "b", "c"), rows, "net D")


def test_a_zero_row_names_its_image_and_counts_the_others():
    rows = np.ones((3, 4), np.float32)
    rows[1:] = 0
    with pytest.raises(FeatureError, match=r"'b' \(and 1 more\).*is zero"):
        check_rows(("a", "b", "c"), rows, "net D")


def test_rows_and_ids_must_agree():
    with pytest.raises(FeatureError, match="2 ids do not fit"):
        check_rows(("a", "b"), np.ones((3, 4), np.float32), "net D")


def test_labels_follow_the_order_of_the_ids():
    labels = ClassLabels(classes=("x", "y"), by_id={"a": 1, "b": 0})
    assert labels.of(("b", "a", "b")).tolist() == [0, 1, 0]
    multi = MultiLabels(classes=("x", "y"), by_id={"a": (1, 0), "b": (-1, 1)})
    assert multi.of(("b", "a")).tolist() == [[-1, 1], [1, 0]]
    assert multi.of(()).shape == (0, 2)


def test_a_split_knows_its_training_part_and_identity():
    split = Split(name="1 of 1", fit=("a", "d"), validation=("c",), test=("b",))
    assert split.train == ("a", "c", "d")
    assert split.sha256 != replace(split, test=("e",)).sha256
    assert split.sha256 != replace(split, fit=("a",), validation=("c", "d")).sha256


def test_rows_whose_squares_overflow_or_vanish_are_rows_all_the_same():
    check_rows(("a", "b"), np.array([[1e30, 0], [1e-30, 0]], np.float32), "net D")
    for bad in (np.inf, np.nan):
        with pytest.raises(FeatureError, match="'b' by net D has a value that is not finite"):
            check_rows(("a", "b"), np.array([[1e30, 0], [1e-30, bad]], np.float32), "net D")
