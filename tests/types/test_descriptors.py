from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from transferbench.errors import FeatureError
from transferbench.types.descriptors import DescriptorSpec, check_rows
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

SPEC = DescriptorSpec(
    dataset="digits",
    images_sha256="a" * 64,
    net=NetSpec(name="D"),
    weights_sha256="b" * 64,
    preprocessing=Preprocessing(),
    short_side_px=256,
)


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


def test_rows_whose_squares_overflow_or_vanish_are_rows_all_the_same():
    check_rows(("a", "b"), np.array([[1e30, 0], [1e-30, 0]], np.float32), "net D")
    for bad in (np.inf, np.nan):
        with pytest.raises(FeatureError, match="'b' by net D has a value that is not finite"):
            check_rows(("a", "b"), np.array([[1e30, 0], [1e-30, bad]], np.float32), "net D")
