import json
import shutil

import pytest

from transferbench.data import Place, open_dataset, open_source
from transferbench.data.annotations import boxes_of
from transferbench.data.ilsvrc import kit_order
from transferbench.data.record import load_record
from transferbench.errors import DatasetError
from transferbench.types.regions import Box

KIT = "ILSVRC2012_devkit_t12/data"


def opened(ilsvrc):
    return open_source("ilsvrc2012", Place(folder=ilsvrc.folder))


def wnids_of_validation(source):
    _, held_out = source.training_and_held_out()
    return [source.record.classes[k] for k in source.labels.of(held_out)]


def test_a_flat_val_is_labelled_through_the_kits_own_order(ilsvrc):
    source = opened(ilsvrc)
    # The trap: ids of the ground truth taken for positions among sorted WordNet ids give another list.
    sorted_order = [sorted(source.record.classes)[k - 1] for k in (1, 2, 3, 4, 1, 2, 3, 4)]
    assert wnids_of_validation(source) == ilsvrc.truth
    assert ilsvrc.truth != sorted_order


def test_class_numbers_follow_sorted_wordnet_ids(ilsvrc):
    source = opened(ilsvrc)
    training, _ = source.training_and_held_out()
    numbers = {i.split("/")[1]: k for i, k in zip(training, source.labels.of(training), strict=True)}
    assert numbers == {wnid: k for k, wnid in enumerate(sorted(numbers))}


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_ground_truth_that_counts_otherwise_is_refused(ilsvrc, shift):
    """Counted from 0, its first class would silently be the last one of the kit."""
    path = ilsvrc.folder / KIT / "ILSVRC2012_validation_ground_truth.txt"
    path.write_text("".join(f"{int(line) + shift}\n" for line in path.read_text().split()))
    line, found = {-1: (1, 0), 1: (4, 5)}[shift]
    with pytest.raises(DatasetError, match=f"cannot be used: line {line} is {found}, and ids count from 1 to 4"):
        opened(ilsvrc)


def test_inner_nodes_of_the_kit_are_no_classes(ilsvrc):
    assert len(kit_order(ilsvrc.folder / KIT)) == 4


def sort_into_folders(ilsvrc):
    for k, wnid in enumerate(ilsvrc.truth, 1):
        (ilsvrc.folder / "val" / wnid).mkdir(exist_ok=True)
        name = f"ILSVRC2012_val_{k:08d}.JPEG"
        (ilsvrc.folder / "val" / name).rename(ilsvrc.folder / "val" / wnid / name)


def test_class_folders_in_val_give_the_same_ids_and_labels_with_and_without_a_kit(ilsvrc):
    flat = opened(ilsvrc)
    sort_into_folders(ilsvrc)
    foldered = opened(ilsvrc)
    shutil.rmtree(ilsvrc.folder / "ILSVRC2012_devkit_t12")
    without_kit = opened(ilsvrc)
    for other in (foldered, without_kit):
        assert other.training_and_held_out() == flat.training_and_held_out()
        assert other.labels.by_id == flat.labels.by_id


def test_folders_sorted_by_the_wrong_order_are_refused(ilsvrc):
    ilsvrc.truth = [sorted(set(ilsvrc.truth))[k % 4] for k in range(8)]
    sort_into_folders(ilsvrc)
    with pytest.raises(DatasetError, match="in a folder that is not its class by the kit"):
        opened(ilsvrc)


def test_a_flat_val_without_a_kit_is_explained(ilsvrc, call):
    shutil.rmtree(ilsvrc.folder / "ILSVRC2012_devkit_t12")
    result = call("datasets", "check", "ilsvrc2012", "--data-dir", ilsvrc.folder)
    assert result.code == 1
    assert "val is flat and there is no development kit that labels it" in result.out


def test_both_forms_of_val_at_once_are_refused(ilsvrc):
    (ilsvrc.folder / "val" / "n02119789").mkdir()
    with pytest.raises(DatasetError, match="images both at the top"):
        opened(ilsvrc)


def test_the_blacklist_counts_from_one(ilsvrc):
    assert opened(ilsvrc).parts["blacklist"] == (
        "val/ILSVRC2012_val_00000002.JPEG",
        "val/ILSVRC2012_val_00000005.JPEG",
    )


def test_a_png_named_jpeg_and_a_cmyk_photograph_are_read_by_content(ilsvrc, call):
    source = opened(ilsvrc)
    assert source.image("train/n01440764/n01440764_1.JPEG").mode == "RGB"
    assert source.image("train/n02119789/n02119789_1.JPEG").mode == "RGB"
    result = call("datasets", "check", "ilsvrc2012", "--data-dir", ilsvrc.folder)
    assert result.code == 0
    assert "1 file, n01440764_1.JPEG, of another format than its name" in result.out
    assert "1 CMYK" in result.out


def test_kaggles_tree_is_known(ilsvrc, tmp_path):
    root = tmp_path / "kaggle" / "ILSVRC" / "Data" / "CLS-LOC"
    root.parent.mkdir(parents=True)
    ilsvrc.folder.rename(root)
    source = open_source("ilsvrc2012", Place(folder=tmp_path / "kaggle"))
    assert len(source.training_and_held_out()[0]) == 20


def test_a_class_that_is_still_packed_is_named(ilsvrc):
    shutil.rmtree(ilsvrc.folder / "train" / "n03000000")
    (ilsvrc.folder / "train" / "n03000000.tar").write_bytes(b"\0" * 1024)
    with pytest.raises(DatasetError, match="a class that is still packed"):
        opened(ilsvrc)


def test_it_is_no_target(ilsvrc):
    with pytest.raises(DatasetError, match="is a dataset to pretrain on"):
        open_dataset("ilsvrc2012", Place(folder=ilsvrc.folder))


def annotate(folder, name, size, objects):
    folder.mkdir(parents=True, exist_ok=True)
    edges = ("xmin", "ymin", "xmax", "ymax")
    found = "".join(
        f"<object><name>{wnid}</name><bndbox>"
        + "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(edges, box, strict=True))
        + "</bndbox></object>"
        for wnid, box in objects
    )
    size = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    (folder / f"{name}.xml").write_text(f"<annotation><filename>{name}</filename>{size}{found}</annotation>")


@pytest.mark.parametrize("place", ["Annotations/CLS-LOC", "bbox"])
def test_boxes_of_objects_are_read_where_there_are_any(ilsvrc, call, place):
    """Of the tree's images one training image has two boxes, and one validation image is a copy of half the size."""
    wnid = "n02123045"
    root = ilsvrc.folder / place
    annotate(root / "train" / wnid, f"{wnid}_3", (48, 40), [(wnid, (1, 1, 10, 20)), (wnid, (5, 6, 48, 40))])
    annotate(root / "val", "ILSVRC2012_val_00000004", (96, 80), [(ilsvrc.truth[3], (11, 21, 96, 80))])
    source = opened(ilsvrc)
    assert source.objects(f"train/{wnid}/{wnid}_3.JPEG") == [(wnid, Box(0, 0, 10, 20)), (wnid, Box(4, 5, 48, 40))]
    assert source.objects("val/ILSVRC2012_val_00000004.JPEG") == [(ilsvrc.truth[3], Box(5, 10, 48, 40))]
    assert source.objects(f"train/{wnid}/{wnid}_2.JPEG") == []
    told = call("datasets", "check", "ilsvrc2012", "--data-dir", ilsvrc.folder).out
    assert "boxes of 1 of 20 images of train" in told
    assert "boxes of 1 of 8 images of val" in told


def test_boxes_are_scaled_to_a_rescaled_copy_and_cut_at_its_edge(tmp_path):
    path = tmp_path / "n01440764_1.xml"
    path.write_text(
        "<annotation><size><width>100</width><height>80</height><depth>3</depth></size><object><name>n01440764</name>"
        "<bndbox><xmin>11</xmin><ymin>21</ymin><xmax>110</xmax><ymax>60</ymax></bndbox></object></annotation>"
    )
    assert boxes_of(path, 100, 80) == [("n01440764", Box(10, 20, 100, 60))]
    assert boxes_of(path, 50, 40) == [("n01440764", Box(5, 10, 50, 30))]


def test_the_shipped_record_has_the_published_counts():
    record = load_record("ilsvrc2012")
    assert len(record.classes) == 1000
    assert list(record.classes) == sorted(record.classes)
    assert (record.parts["train"].images, record.parts["val"].images) == (1281167, 50000)
    assert record.parts["blacklist"].images == 50000 - 48238
    assert {archive.access for archive in record.archives} == {"registration"}


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("ilsvrc/train", "this is the folder train itself; give --data-dir {tmp_path}/ilsvrc"),
        ("", "give --data-dir {tmp_path}/ilsvrc"),
        (
            "ilsvrc/ILSVRC2012_devkit_t12",
            "unpack the archives into it (tb datasets show ilsvrc2012), or give --data-dir",
        ),
    ],
)
def test_another_level_of_the_tree_says_which_one_is_meant(ilsvrc, call, tmp_path, named, told):
    done = call("datasets", "check", "ilsvrc2012", "--data-dir", tmp_path / named, "--json")
    assert done.code == 1
    (missing,) = [one["todo"] for one in json.loads(done.out)["findings"] if one["severity"] == "missing"]
    assert missing == told.format(tmp_path=tmp_path)
