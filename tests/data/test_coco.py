import json

import pytest

from transferbench.data import Place, open_dataset
from transferbench.data.record import load_record
from transferbench.errors import DatasetError


def test_crowd_regions_alone_leave_a_category_out(coco, capsys):
    dataset = open_dataset("coco2014", Place(folder=coco.folder))
    assert dataset.labels.by_id == coco.labels
    assert capsys.readouterr().out == ""  # pycocotools prints; stdout is for data


def test_images_without_annotations_stay(coco):
    (split,) = open_dataset("coco2014", Place(folder=coco.folder)).splits()
    assert "val2014/COCO_val2014_000000000016.jpg" in split.test
    assert len(split.train) == 16
    assert all(i.startswith("train2014/") for i in split.train)


def test_another_layout_of_the_images_is_known(coco):
    (coco.folder / "images").mkdir()
    for part in ("train2014", "val2014"):
        (coco.folder / part).rename(coco.folder / "images" / part)
    assert len(open_dataset("coco2014", Place(folder=coco.folder)).ids) == 32


def change(coco, edit):
    path = coco.folder / "annotations" / "instances_val2014.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def swap_names(categories):
    """Give the first two categories each other's name: the same set, another order by id."""
    one, other, *_ = categories
    one["name"], other["name"] = other["name"], one["name"]


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda c: c["categories"].pop(), "the categories are not those of the record: stop sign"),
        (lambda c: swap_names(c["categories"]), "the categories are not those of the record: the order"),
        (lambda c: c["images"][0].update(file_name="../../../etc/passwd"), "1 image, ../../../etc/passwd"),
        (lambda c: c["images"].pop(), "val2014: 15 images, but 16 are published"),
        (lambda c: c.pop("annotations"), "the annotations lack images, annotations or categories"),
    ],
)
def test_broken_annotations_are_named(coco, edit, told):
    change(coco, edit)
    with pytest.raises(DatasetError) as raised:
        open_dataset("coco2014", Place(folder=coco.folder))
    assert told in str(raised.value)


def test_annotations_that_are_no_json_are_named(coco):
    (coco.folder / "annotations" / "instances_val2014.json").write_text("<html>moved</html>")
    with pytest.raises(DatasetError, match="the annotations cannot be read"):
        open_dataset("coco2014", Place(folder=coco.folder))


def test_the_shipped_records_have_80_categories_by_ascending_id():
    for name in ("coco2014", "coco2017"):
        classes = load_record(name).classes
        assert (len(classes), classes[0], classes[-1]) == (80, "person", "toothbrush")
        assert not any(part.verified for part in load_record(name).parts.values())
