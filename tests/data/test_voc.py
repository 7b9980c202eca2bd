import json

import pytest

from transferbench.data import Place, open_dataset
from transferbench.data.published import load_published
from transferbench.data.record import load_record
from transferbench.errors import DatasetError
from transferbench.types.regions import Box


def opened(tree, name, **place):
    return open_dataset(name, Place(folder=tree.folder, **place))


def test_labels_are_those_of_the_class_files(voc2007):
    dataset = opened(voc2007, "voc2007")
    assert dataset.labels.classes == voc2007.classes
    assert dataset.labels.by_id == voc2007.labels
    assert any(0 in row for row in dataset.labels.by_id.values())


def test_the_class_train_is_not_taken_for_the_list_train(voc2007):
    dataset = opened(voc2007, "voc2007")
    k = voc2007.classes.index("train")
    assert [dataset.labels.by_id[i][k] for i in voc2007.lists["val"]] == [
        voc2007.labels[i][k] for i in voc2007.lists["val"]
    ]
    assert dataset.parts["train"] == tuple(voc2007.lists["train"])


def test_one_split_by_the_lists_of_the_kit(voc2007):
    (split,) = opened(voc2007, "voc2007").splits()
    assert split.fit == tuple(voc2007.lists["train"])
    assert split.validation == tuple(voc2007.lists["val"])
    assert split.test == tuple(voc2007.lists["test"])


def test_ids_stay_text(voc2007):
    assert opened(voc2007, "voc2007").ids[0] == "000001"


def test_windows_line_ends_are_read(voc2007, call):
    for path in (voc2007.root / "ImageSets" / "Main").iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert opened(voc2007, "voc2007").labels.by_id == voc2007.labels
    assert call("datasets", "check", "voc2007", "--data-dir", voc2007.folder).code == 0


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2007"])
def test_the_folder_may_be_any_of_three(voc2007, below):
    dataset = open_dataset("voc2007", Place(folder=voc2007.folder / below))
    assert dataset.labels.by_id == voc2007.labels


def test_grey_and_cmyk_photographs_come_as_rgb(voc2007):
    dataset = opened(voc2007, "voc2007")
    assert {dataset.image(i).mode for i in dataset.ids} == {"RGB"}


def test_two_trees_side_by_side_are_one(voc2012):
    dataset = opened(voc2012, "voc2012")
    assert set(voc2012.lists["test"]) <= set(dataset.ids)
    assert "2007_000001" not in dataset.ids


def test_the_local_split_never_uses_the_unlabelled_test(voc2012):
    dataset = opened(voc2012, "voc2012")
    (split,) = dataset.splits()
    assert set(split.train) == set(voc2012.lists["train"])
    assert set(split.test) == set(voc2012.lists["val"])
    assert "local" in split.name
    assert not set(voc2012.lists["test"]) & set(dataset.labels.by_id)


def test_placeholder_labels_of_the_test_images_are_no_labels(voc2012):
    lists = voc2012.folder / "test" / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main"
    for name in voc2012.classes:
        (lists / f"{name}_test.txt").write_text("".join(f"{i} -1\n" for i in voc2012.lists["test"]))
    dataset = opened(voc2012, "voc2012")
    assert not set(voc2012.lists["test"]) & set(dataset.labels.by_id)


def test_placeholder_labels_of_the_test_people_are_no_labels(voc_action):
    people = voc_action.people["test"]
    for action in ("jumping", "reading"):
        path = voc_action.root / "ImageSets" / "Action" / f"{action}_test.txt"
        path.write_text("".join(f"{person.replace('#', ' ')} -1\n" for person in people))
    dataset = opened(voc_action, "voc2012_action")
    assert dataset.parts["test"] == tuple(people)
    assert not set(people) & set(dataset.labels.by_id)


def test_the_official_split_tests_on_the_unlabelled(voc2012):
    split = opened(voc2012, "voc2012").official_split()
    assert (split.fit, split.validation, split.test) == tuple(
        tuple(sorted(voc2012.lists[part])) for part in ("train", "val", "test")
    )


def test_without_the_test_archive_there_is_no_official_split(voc2012):
    dataset = open_dataset("voc2012", Place(folder=voc2012.folder / "VOCdevkit"))
    assert dataset.official_split() is None
    assert len(dataset.splits()) == 1


def test_boxes_are_of_the_object_with_that_index_over_all_objects(voc_action):
    dataset = opened(voc_action, "voc2012_action")
    assert dataset.ids == tuple(sorted(voc_action.boxes))
    assert dataset.boxes == {person: Box(*edges) for person, edges in voc_action.boxes.items()}


def test_people_have_labels_of_their_own(voc_action):
    """Some do two things at once, some do something else: nobody is dropped, no second action is lost."""
    dataset = opened(voc_action, "voc2012_action")
    assert dataset.labels.by_id == voc_action.labels
    assert {(1, 1), (-1, -1)} < set(dataset.labels.by_id.values())


def test_the_eleventh_action_is_not_scored(voc_action):
    lists = voc_action.root / "ImageSets" / "Action"
    for part in ("train", "val"):
        (lists / f"other_{part}.txt").write_text("".join(f"{p.replace('#', ' ')} 1\n" for p in voc_action.people[part]))
    assert opened(voc_action, "voc2012_action").labels.classes == ("jumping", "reading")


def test_ten_actions_are_averaged_and_other_is_none_of_them():
    classes = load_record("voc2012_action").classes
    assert len(classes) == 10
    assert "other" not in classes


def test_people_of_one_image_share_its_file_and_stay_together(voc_action, record):
    dataset = opened(voc_action, "voc2012_action")
    one, other = "2010_001001#2", "2010_001001#3"
    assert dataset.file(one) == dataset.file(other)
    local = {"kind": "train_test", "train": "train", "test": "val", "validation_fraction": 0.5}
    official = {"kind": "server_test", "fit": "train", "validation": "val", "test": "test", "competition": "comp10"}
    sides = set()
    for seed in range(12):
        record("voc2012_action", protocol=official | {"local": local | {"seed": seed}})
        (split,) = opened(voc_action, "voc2012_action").splits()
        side = {name for name in ("fit", "validation") if {one, other} & set(getattr(split, name))}
        assert len(side) == 1, seed
        sides |= side
    assert sides == {"fit", "validation"}


def test_an_index_of_something_else_than_a_person_is_named(voc_action, call):
    for path in (voc_action.root / "ImageSets" / "Action").glob("*_train.txt"):
        path.write_text(path.read_text().replace("2010_001002  2", "2010_001002  1"))
    result = call("datasets", "check", "voc2012_action", "--data-dir", voc_action.folder)
    assert result.code == 1
    assert "1 person, 2010_001002#1, whose object index is no person" in result.out


def test_an_image_of_both_parts_is_refused(voc_action):
    lists = voc_action.root / "ImageSets" / "Action"
    for name in ("val", "jumping_val", "reading_val"):
        path = lists / f"{name}.txt"
        extra = "2010_001002\n" if name == "val" else "2010_001002 2 1\n"
        path.write_text(path.read_text() + extra)
    with pytest.raises(DatasetError, match=r"2010_001002#2, in both train and val"):
        opened(voc_action, "voc2012_action")


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda t: (t.root / "ImageSets/Main/train_val.txt").unlink(), "class train has no labels for val"),
        (lambda t: (t.root / "ImageSets/Main/test.txt").unlink(), "there is no list test.txt"),
        (lambda t: (t.root / "JPEGImages/000012.jpg").unlink(), "1 image, 000012.jpg"),
        (
            lambda t: (t.root / "ImageSets/Main/cat_val.txt").write_text("000013 1\n"),
            "class cat has no label of 11 ids, first 000014 of val",
        ),
        (lambda t: (t.root / "ImageSets/Main/val.txt").write_text("<html>gone away</html>\n"), "line 1 is not"),
    ],
)
def test_a_broken_tree_is_refused_by_name(voc2007, call, break_it, told):
    break_it(voc2007)
    with pytest.raises(DatasetError, match="tb datasets check voc2007"):
        opened(voc2007, "voc2007")
    result = call("datasets", "check", "voc2007", "--data-dir", voc2007.folder)
    assert result.code == 1
    assert told in result.out


def test_a_flipped_label_is_seen_by_the_published_counts(voc2007, call):
    path = voc2007.root / "ImageSets" / "Main" / "cat_test.txt"
    path.write_text(path.read_text().replace(" -1", "  1", 1))
    result = call("datasets", "check", "voc2007", "--data-dir", voc2007.folder)
    positive, difficult = voc2007.counts("test")["cat"]
    told = f"cat {positive + 1} and {difficult} difficult instead of {positive} and {difficult} difficult"
    assert result.code == 1
    assert told in result.out


def test_difficult_taken_for_absent_is_seen_by_the_published_counts(voc2007):
    for path in (voc2007.root / "ImageSets" / "Main").glob("*_*.txt"):
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{line[:7]}{line[7:].replace(' 0', '-1')}\n" for line in lines))
    with pytest.raises(DatasetError, match="class counts differ"):
        opened(voc2007, "voc2007")


def test_another_year_is_named(voc2007, call):
    result = call("datasets", "check", "voc2012", "--data-dir", voc2007.folder)
    assert result.code == 1
    assert "no VOC2012 tree" in result.out
    assert "there is VOC2007" in result.out


def test_counts_from_memory_are_told_and_never_fail(voc2012, call):
    (voc2012.folder / "test/VOCdevkit/VOC2012/ImageSets/Main/test.txt").write_text(voc2012.lists["test"][0] + "\n")
    result = call("datasets", "check", "voc2012", "--data-dir", voc2012.folder, "--json")
    assert result.code == 0
    told = [f["what"] for f in json.loads(result.out)["findings"] if f["severity"] == "info"]
    assert "test: 1 images; 10 are expected, a number that is not verified" in told


def test_the_shipped_counts_of_2007_add_up():
    # Published list lengths and class counts of the development kit; three rows are spelled out.
    record = load_record("voc2007")
    assert {name: part.images for name, part in record.parts.items()} == {
        "train": 2501,
        "val": 2510,
        "trainval": 5011,
        "test": 4952,
    }
    counts = record.class_counts
    for name in record.classes:
        both = tuple(a + b for a, b in zip(counts["train"][name], counts["val"][name], strict=True))
        assert counts["trainval"][name] == both
    assert counts["train"]["sofa"] == (111, 77)
    assert counts["test"]["person"] == (2007, 90)
    assert counts["test"]["train"] == (259, 0)


def test_published_rows_are_those_of_the_paper():
    rows = {name: load_published(name) for name in ("voc2007", "voc2012", "voc2012_action")}
    assert rows["voc2007"]["voc2007/vgg-de"].value == 0.897
    assert rows["voc2012"]["voc2012/wei-extended"].value == 0.903
    assert rows["voc2012_action"]["voc2012_action/vgg-de-image-box"].value == 0.84
    assert all("Table 1" in row.source for table in rows.values() for row in table.values())
