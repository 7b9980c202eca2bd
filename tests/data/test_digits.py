import numpy as np
import pytest
from sklearn.datasets import load_digits

from transferbench.data import digits as module
from transferbench.data import open_dataset, open_source
from transferbench.data.published import load_published, published_row
from transferbench.data.record import load_record
from transferbench.errors import DatasetError, UnknownNameError


@pytest.fixture(scope="module")
def target():
    return open_dataset("digits")


@pytest.fixture(scope="module")
def source():
    return open_source("digits")


def test_parts_are_disjoint_and_of_the_stated_size(source, target):
    assert len(source.ids) == 1000
    assert len(target.ids) == 797
    assert not set(source.ids) & set(target.ids)
    shared = {source.image(i).tobytes() for i in source.ids} & {target.image(i).tobytes() for i in target.ids}
    assert not shared


def test_images_and_labels_are_those_of_scikit_learn(target):
    bundle = load_digits()
    for image_id in target.ids[::97]:
        number = int(image_id.removeprefix("digit-"))
        pixels = np.array(target.image(image_id))
        assert pixels.shape == (8, 8, 3)
        assert (pixels[..., 0] == pixels[..., 2]).all()
        assert np.abs(pixels[..., 0] / 255 * 16 - bundle.images[number]).max() < 0.04
        assert target.labels.of((image_id,))[0] == bundle.target[number]


def test_ids_are_sorted(source, target):
    assert list(source.ids) == sorted(source.ids)
    assert list(target.ids) == sorted(target.ids)


def test_splits_have_the_protocol_sizes(target):
    assert [(len(s.fit), len(s.validation), len(s.test)) for s in target.splits()] == [(80, 20, 697)] * 3


def test_source_is_divided_in_nine_tenths_and_one_tenth(source):
    train, held_out = source.training_and_held_out()
    assert (len(train), len(held_out)) == (900, 100)
    assert {*train, *held_out} == set(source.ids)


def test_other_digits_are_refused_with_both_hashes(monkeypatch):
    pixels, numbers, sha256 = module._bundled()
    monkeypatch.setattr(module, "_bundled", lambda: (pixels, numbers, "0" * 64))
    with pytest.raises(DatasetError, match=rf"(?s)0{{64}}.*{sha256}"):
        module.Digits("target")


def test_another_division_is_refused(monkeypatch):
    monkeypatch.setattr(module, "N_SOURCE", 999)
    with pytest.raises(DatasetError, match="ids of the target part"):
        module.Digits("target")


def test_the_identity_covers_pixels_and_ids(source, target):
    assert source.images_sha256 != target.images_sha256 != load_record("digits").images_sha256


def test_unknown_names_get_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'digits'"):
        open_dataset("digit")
    with pytest.raises(UnknownNameError, match="Did you mean 'digits'"):
        load_record("digit")
    with pytest.raises(UnknownNameError, match="Did you mean 'ilsvrc2012'"):
        open_source("ilsvrc")
    with pytest.raises(UnknownNameError, match="Did you mean 'digits/A-slim/stack'"):
        published_row("digits", "digits/A-slim/stak")


def test_reference_rows_say_that_they_are_ours():
    assert all("this project" in row.source for row in load_published("digits").values())
