import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferbench.data import Place, open_dataset
from transferbench.data.published import load_published
from transferbench.data.random_splits import random_splits
from transferbench.data.record import load_record
from transferbench.data.splits import audit
from transferbench.errors import DatasetError
from transferbench.types.labels import ClassLabels
from transferbench.types.split import Split


def class_of(image_id: str) -> str:
    return image_id.partition("/")[0]


def test_background_counts_as_a_class_and_its_stray_file_does_not(caltech101):
    dataset = open_dataset("caltech101", Place(folder=caltech101.folder))
    sizes = {name: sum(class_of(i) == name for i in dataset.ids) for name in dataset.labels.classes}
    assert sizes == caltech101.sizes
    assert "BACKGROUND_Google/tmp" not in dataset.ids
    assert "Faces/image_0002.JPG" in dataset.ids


def test_up_to_fifty_test_images_drops_no_class_and_pads_none(caltech101):
    for split in open_dataset("caltech101", Place(folder=caltech101.folder)).splits():
        train = {name: sum(class_of(i) == name for i in split.train) for name in caltech101.sizes}
        test = {name: sum(class_of(i) == name for i in split.test) for name in caltech101.sizes}
        assert train == dict.fromkeys(caltech101.sizes, 6)
        assert test == {name: min(5, size - 6) for name, size in caltech101.sizes.items()}
        assert len(split.validation) == 3  # a fifth of six, rounded, per class


def test_clutter_counts_and_stray_entries_do_not(caltech256):
    dataset = open_dataset("caltech256", Place(folder=caltech256.folder))
    assert len(dataset.ids) == sum(caltech256.sizes.values())
    assert dataset.labels.classes[-1] == "257.clutter"
    (split, *_) = dataset.splits()
    assert len(split.test) == len(dataset.ids) - 3 * 4  # all the rest


def test_splits_do_not_depend_on_the_order_of_a_listing(caltech101, monkeypatch):
    place = Place(folder=caltech101.folder)
    before = [split.sha256 for split in open_dataset("caltech101", place).splits()]
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(sorted(listing(folder), key=lambda p: p.name[::-1])))
    assert [split.sha256 for split in open_dataset("caltech101", place).splits()] == before


def test_splits_differ_from_each_other(caltech101):
    splits = open_dataset("caltech101", Place(folder=caltech101.folder)).splits()
    assert len({split.sha256 for split in splits}) == 3


def test_a_missing_class_and_a_foreign_one_are_named(caltech101, call):
    (caltech101.root / "Faces").rename(caltech101.root / "Gesichter")
    result = call("datasets", "check", "caltech101", "--data-dir", caltech101.folder)
    assert result.code == 1
    assert "Gesichter is no class of caltech101" in result.out
    assert "1 class, Faces" in result.out


def test_one_image_less_than_published_is_refused(caltech256):
    (caltech256.root / "056.dog" / "056_0003.jpg").unlink()
    with pytest.raises(DatasetError, match="all: 20 images, but 21 are published"):
        open_dataset("caltech256", Place(folder=caltech256.folder))


def test_shipped_records_hold_102_and_257_classes():
    one, two = load_record("caltech101"), load_record("caltech256")
    assert (len(one.classes), one.classes[0], one.parts["all"].images) == (102, "BACKGROUND_Google", 9144)
    assert (len(two.classes), two.classes[-1], two.parts["all"].images) == (257, "257.clutter", 30607)
    assert (one.protocol.train_per_class, one.protocol.test_per_class) == (30, 50)
    assert (two.protocol.train_per_class, two.protocol.test_per_class) == (60, None)
    assert [name[:3] for name in two.classes] == [f"{k:03d}" for k in range(1, 258)]


def test_published_rows_have_their_spread():
    row = load_published("caltech101")["caltech101/vgg-de"]
    assert (row.value, row.spread) == (0.927, 0.005)
    assert load_published("caltech256")["caltech256/vgg-d"].value == 0.85


@given(
    sizes=st.lists(st.integers(4, 12), min_size=2, max_size=5),
    train=st.integers(2, 3),
    test=st.one_of(st.none(), st.integers(1, 5)),
    seed=st.integers(0, 10_000),
)
def test_random_splits_hold_what_they_promise(sizes, train, test, seed):
    classes = tuple(f"c{k}" for k in range(len(sizes)))
    by_id = {f"{name}/{i}": k for k, name in enumerate(classes) for i in range(sizes[k])}
    labels = ClassLabels(classes=classes, by_id=by_id)
    options = {"n_splits": 2, "seed": seed, "train_per_class": train, "test_per_class": test}
    splits = random_splits(labels, validation_fraction=0.2, **options)
    backwards = ClassLabels(classes=classes, by_id=dict(reversed(by_id.items())))
    assert random_splits(backwards, validation_fraction=0.2, **options) == splits
    for split in splits:
        audit("any", split)
        for k, size in enumerate(sizes):
            assert sum(by_id[i] == k for i in split.train) == train
            assert sum(by_id[i] == k for i in split.test) == min(size - train, test or size)
        assert set(split.validation) <= set(split.train)


@pytest.mark.parametrize(
    ("fit", "validation", "test", "told"),
    [
        (("a", "b"), ("c",), ("b",), "b, are in both fit and test"),
        (("a",), ("b",), ("b",), "b, are in both validation and test"),
        (("a", "a"), ("b",), ("c",), "fit part of split 1 has an image twice"),
        (("a",), (), ("c",), "validation part of split 1 is empty"),
    ],
)
def test_the_audit_refuses_what_would_leak(fit, validation, test, told):
    with pytest.raises(DatasetError, match=told):
        audit("any", Split(name="1", fit=fit, validation=validation, test=test))


@pytest.fixture
def pets(tmp_path, photo):
    """A folder of one's own, with a blank in its name, subfolders, and a web picture among the photographs."""
    root = tmp_path / "my pets"
    for c, name in enumerate(("cat", "dog")):
        for k in range(8):
            path = root / name / ("puppies" if (c, k) == (1, 0) else "") / f"{k}.jpeg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(600 + 10 * c + k))
    (root / "cat" / "notes.txt").write_text("shy")
    return root


def test_an_own_folder_gets_splits_that_fit_its_size(pets, call):
    dataset = open_dataset(f"imagefolder:{pets}", Place(folder=pets))
    assert dataset.labels.classes == ("cat", "dog")
    assert "dog/puppies/0.jpeg" in dataset.ids
    assert {len(split.train) for split in dataset.splits()} == {8}  # half of each class
    assert dataset.record.name == "imagefolder-my_pets"
    result = call("datasets", "check", f"imagefolder:{pets}")
    assert result.code == 0
    assert "notes.txt" in result.out


def test_linked_folders_are_read_once_and_hidden_ones_not_at_all(pets, tmp_path, photo):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "linked.jpeg").write_bytes(photo(700))
    (pets / "cat" / "more").symlink_to(elsewhere)
    (pets / "dog" / "round").symlink_to(pets / "dog")  # a circle
    copies = pets / "cat" / ".ipynb_checkpoints"
    copies.mkdir()
    (copies / "0-checkpoint.jpeg").write_bytes((pets / "cat" / "0.jpeg").read_bytes())
    ids = open_dataset(f"imagefolder:{pets}", Place(folder=pets)).ids
    assert len(ids) == 17
    assert set(ids) > {"cat/more/linked.jpeg", "dog/1.jpeg"}
    assert not any("checkpoint" in image_id or "round" in image_id for image_id in ids)


def test_own_parts_are_kept(pets):
    for part, names in (("train", ("cat", "dog")), ("test", ("cat", "dog"))):
        for name in names:
            (pets / part / name).mkdir(parents=True)
            for image in sorted((pets / name).glob("*.jpeg"))[: 4 if part == "train" else 2]:
                image.rename(pets / part / name / image.name)
    for name in ("cat", "dog"):
        for rest in sorted((pets / name).rglob("*"), reverse=True):
            rest.unlink() if rest.is_file() else rest.rmdir()
        (pets / name).rmdir()
    dataset = open_dataset(f"imagefolder:{pets}", Place(folder=pets))
    (split,) = dataset.splits()
    assert {i.split("/")[0] for i in split.train} == {"train"}
    assert {i.split("/")[0] for i in split.test} == {"test"}
    assert len(split.validation) == 2  # one of each class, out of the training part


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda _root: None, "there is no such folder"),
        (lambda root: (root / "only").mkdir(parents=True), "0 class"),
        (lambda root: [(root / n).mkdir(parents=True) for n in ("train", "cat")], "neither test nor val"),
        (lambda root: [(root / n).mkdir(parents=True) for n in ("train", "val", "valid")], "name a part twice"),
    ],
)
def test_own_folders_of_no_known_form_are_explained(tmp_path, call, make, told):
    make(tmp_path / "own")
    result = call("datasets", "splits", f"imagefolder:{tmp_path / 'own'}")
    assert result.code == 1
    assert told in result.err
    assert "Traceback" not in result.err


def test_a_folder_one_level_too_high_is_told_which_one_is_meant(pets, tmp_path, call):
    (tmp_path / "top").mkdir()
    pets.rename(tmp_path / "top" / "pets")
    result = call("datasets", "splits", f"imagefolder:{tmp_path / 'top'}")
    assert result.code == 1
    assert f"Write imagefolder:{tmp_path / 'top' / 'pets'}" in result.err


def test_names_that_are_not_utf8_are_told(pets, call):
    image = next((pets / "cat").glob("*.jpeg"))
    os.rename(image, os.fsencode(image.parent) + b"/x\xfe.jpeg")  # noqa: PTH104 - bytes
    result = call("datasets", "splits", f"imagefolder:{pets}")
    assert result.code == 1
    assert "1 name(s) are not UTF-8, the first is 'cat/x\\udcfe.jpeg'; rename them" in result.err


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    """The example of docs/datasets.md as pip would install it, without installing it."""
    document = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text()
    code, toml = re.findall(r"^```(?:python|toml)\n(.*?)^```", document, flags=re.MULTILINE | re.DOTALL)
    package = tmp_path / "package"
    info = package / "flowers-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "flowers.py").write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flowers\nVersion: 1.0\n")
    points = tomllib.loads(toml)["project"]["entry-points"]["transferbench.datasets"]
    lines = [f"{name} = {place}\n" for name, place in points.items()]
    (info / "entry_points.txt").write_text("[transferbench.datasets]\n" + "".join(lines))
    monkeypatch.syspath_prepend(package)
    yield
    sys.modules.pop("flowers", None)


@pytest.mark.usefixtures("flowers")
def test_the_documented_plugin_gives_a_dataset_to_every_verb(call, photo, tmp_path):
    for c, name in enumerate(("rose", "tulip")):
        folder = tmp_path / "home" / "data" / "flowers" / "release-2" / "flowers" / name
        folder.mkdir(parents=True)
        for k in range(8):
            (folder / f"{k}.jpg").write_bytes(photo(100 * c + k))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "version: 1\ndataset: flowers\nfeatures:\n  nets:\n"
        "    - {name: A, width: 0.125, crop: 32, weights: {kind: random, seed: 0}}\n"
        "  scales: [32]\n  flip: false\naggregate: {kind: stack, l2: both}\n"
        "svm: {loss: squared_hinge, C: [0.1, 1.0, 10.0], selection: validation}\nclaims: null\n"
    )
    assert call("recipes", "check", recipe).code == 0
    done = call("run", recipe, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["dataset"] == "imagefolder-flowers"  # as the page says
    assert sorted(result["classes"]) == ["rose", "tulip"]
