"""People of VOC-2012: whole photographs and boxes as pictures, and the chain from both to average precision."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.metrics import average_precision_score
from sklearn.svm import LinearSVC

from transferbench.cache.store import stored_blocks
from transferbench.cache.verification import load
from transferbench.data import Place, open_dataset
from transferbench.errors import DatasetError
from transferbench.recipe.files import load as load_recipe
from transferbench.recipe.transfer import Recipe


def opened(tree, name="voc2012_action"):
    return open_dataset(name, Place(folder=tree.folder))


def recipe(folder, regions, dataset="voc2012_action"):
    content = {
        "version": 1,
        "dataset": dataset,
        "features": {
            "nets": [{"name": "A", "width": 0.0625, "crop": 32, "weights": {"kind": "random"}}],
            "scales": [32, 48],
            "flip": True,
            "regions": regions,
        },
        "aggregate": {"kind": "average", "l2": "both"},
        "svm": {"loss": "squared_hinge", "C": [0.1, 1.0], "selection": "validation"},
        "floors": [{"kind": "raw_pixels", "side": 8}],
        "claims": None,
    }
    path = folder / f"people_{'_'.join(regions)}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_whole_image_is_one_picture_however_many_people_are_in_it(voc_action):
    dataset = opened(voc_action)
    pictures = dataset.pictures("image")
    assert pictures.ids == tuple(sorted({person.split("#")[0] for person in dataset.ids}))
    assert len(pictures.ids) < len(dataset.ids)
    assert pictures.image("2010_001001").tobytes() == dataset.image("2010_001001#3").tobytes()


def test_a_box_holds_its_first_and_its_last_pixel(voc_action):
    """By hand: xmin 10, ymin 5.7 (cut to 5), xmax 40, ymax 38, counted from 1, are rows 4 to 37 and columns 9 to 39."""
    pictures = opened(voc_action).pictures("box")
    found = pictures.image("2010_001001#3")
    whole = np.asarray(Image.open(voc_action.root / "JPEGImages" / "2010_001001.jpg"))
    assert found.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(found), whole[4:38, 9:40])


def test_a_box_is_cut_at_the_border_of_the_image(voc_action):
    path = voc_action.root / "Annotations" / "2010_001001.xml"
    path.write_text(path.read_text().replace("<xmax>40</xmax>", "<xmax>900</xmax>"))
    assert opened(voc_action).pictures("box").image("2010_001001#3").size == (48 - 9, 38 - 4)


def test_a_moved_box_is_another_picture_and_the_whole_image_is_not(voc_action):
    def identities():
        return tuple(opened(voc_action).pictures(region).images_sha256 for region in ("image", "box"))

    before = identities()
    path = voc_action.root / "Annotations" / "2010_001001.xml"
    path.write_text(path.read_text().replace("<xmax>40</xmax>", "<xmax>41</xmax>"))
    after = identities()
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_missing_annotations_are_counted_and_damaged_ones_named(voc_action, call):
    """The boxes of the test images come in an archive of their own."""
    folder = voc_action.root / "Annotations"
    for path in folder.glob("2010_003*.xml"):
        path.unlink()
    (folder / "2010_001002.xml").write_text("<annotation>")
    told = json.loads(call("datasets", "check", "voc2012_action", "--data-dir", voc_action.folder, "--json").out)[
        "findings"
    ]
    problems = [(f["severity"], f["what"], Path(f["where"]).name) for f in told if f["severity"] not in ("info", "ok")]
    assert problems[0] == ("missing", "5 annotations, first 2010_003001.xml", "Annotations")
    assert problems[1][::2] == ("corrupt", "2010_001002.xml")
    assert len(problems) == 2


def test_images_have_no_boxes(voc2007, tmp_path, call):
    dataset = opened(voc2007, "voc2007")
    assert dataset.pictures("image") is dataset
    with pytest.raises(DatasetError, match="voc2007 has no boxes of people"):
        dataset.pictures("box")
    refused = call("evaluate", "--recipe", recipe(tmp_path, ["image", "box"], "voc2007"))
    assert refused.code == 1
    assert "features.regions: voc2007 has no boxes of people" in refused.err


@pytest.mark.parametrize("regions", [["box", "image"], [], ["image", "image"]])
def test_regions_have_one_order(tmp_path, regions):
    with pytest.raises(Exception, match=r"\[image\], \[box\] or \[image, box\]"):
        load_recipe(str(recipe(tmp_path, regions)), Recipe)


def test_descriptors_of_boxes_are_those_of_pictures_cut_out_before(voc_action, call, tmp_path):
    """Cut out by hand, saved without loss, and extracted as a folder of images."""
    for person, edges in voc_action.boxes.items():
        image_id, _, index = person.partition("#")
        folder = tmp_path / "cut" / ("even" if int(image_id[-1]) % 2 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        photograph = Image.open(voc_action.root / "JPEGImages" / f"{image_id}.jpg")
        pixels = np.asarray(photograph.convert("RGB"))[edges[1] : edges[3], edges[0] : edges[2]]
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        (folder / f"{image_id}-{index}.png").write_bytes(file.getvalue())
    boxes = call("extract", "--recipe", recipe(tmp_path, ["box"]), "--data-dir", voc_action.folder)
    cut = call("extract", "--recipe", recipe(tmp_path, ["image"], f"imagefolder:{tmp_path / 'cut'}"))
    assert (boxes.code, cut.code) == (0, 0), boxes.err + cut.err
    blocks = [b for b in stored_blocks(tmp_path / "home" / "features") if b.spec.short_side_px == 48]
    found = {block.spec.region: load(block) for block in blocks}
    rows = zip(found["image"].ids, found["image"].array, strict=True)
    expected = {path.rpartition("/")[2][:-4].replace("-", "#"): row for path, row in rows}
    assert found["box"].ids == tuple(sorted(expected))
    np.testing.assert_allclose(found["box"].array, [expected[i] for i in found["box"].ids], rtol=1e-4, atol=1e-6)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("regions", [["image"], ["box"], ["image", "box"]])
def test_the_chain_on_people_agrees_with_scikit_learn(voc_action, call, tmp_path, regions):
    path = recipe(tmp_path, regions)
    done = call("run", path, "--data-dir", voc_action.folder, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    (split,) = result["scores"][0]["splits"]
    assert (split["n_fit"] + split["n_validation"], split["n_test"]) == (9, 9)
    people = [*voc_action.people["train"], *voc_action.people["val"]]
    rows = people_rows(tmp_path / "home" / "features", people, regions)
    values = []
    for k in range(2):
        train, test = ([p for p in voc_action.people[part] if voc_action.labels[p][k]] for part in ("train", "val"))
        assert (len(train), len(test)) == ((8, 8), (9, 9))[k]  # the label 0 counts neither way
        machine = LinearSVC(C=split["C"], tol=1e-9, max_iter=1_000_000)
        machine.fit([rows[p] for p in train], [voc_action.labels[p][k] for p in train])
        truth = [voc_action.labels[p][k] > 0 for p in test]
        values.append(average_precision(truth, machine.decision_function([rows[p] for p in test]).round(9)))
    assert dict(split["others"])["mean average precision (non-interpolated)"] == pytest.approx(
        np.mean(values), abs=1e-6
    )


def average_precision(truth, scores):
    """Average precision at every hit; of equal scores (people of one image) the one earlier in the list is first."""
    if len(set(scores)) == len(scores):
        return average_precision_score(truth, scores)
    hits = np.array(truth)[sorted(range(len(scores)), key=lambda k: (-scores[k], k))]
    return np.mean([hits[: k + 1].mean() for k in np.flatnonzero(hits)])


def people_rows(features, people, regions):
    """Average the scales, give every region unit length, put them side by side and give the row unit length."""
    stored = [(b.spec, load(b)) for b in stored_blocks(features) if b.spec.net.name == "A"]
    pieces = []
    for region in regions:
        scales = [found for spec, found in stored if spec.region == region]
        assert len(scales) == 2
        mean = unit(np.mean([found.array.astype(float) for found in scales], axis=0))
        pieces.append(dict(zip(scales[0].ids, mean, strict=True)))
    rows = [np.concatenate([piece.get(p, piece.get(p.split("#")[0])) for piece in pieces]) for p in people]
    return dict(zip(people, unit(np.array(rows)), strict=True))
