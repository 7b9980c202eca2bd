"""`tb submit`: from photographs without test labels to an archive that the server would take."""

import json
import tarfile

import numpy as np
import pytest
import yaml
from sklearn.svm import LinearSVC

from transferbench.cache.store import stored_blocks
from transferbench.cache.verification import load


def recipe(folder, dataset, regions=("image",)):
    content = {
        "version": 1,
        "dataset": dataset,
        "features": {
            "nets": [{"name": "A", "width": 0.0625, "crop": 32, "weights": {"kind": "random"}}],
            "scales": [32],
            "flip": True,
            "regions": list(regions),
        },
        "aggregate": {"kind": "stack", "l2": "both"},
        "svm": {"loss": "squared_hinge", "C": [0.1, 1.0, 10.0], "selection": "validation"},
        "claims": None,
    }
    path = folder / "entry.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def content(path):
    with tarfile.open(path, "r:gz") as tar:
        return {member.name: tar.extractfile(member).read().decode() for member in tar}


def lines(text):
    """Map the words before the score to the score, in the order of the lines."""
    return {tuple(line.split()[:-1]): float(line.split()[-1]) for line in text.splitlines()}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def decisions(rows, labels, train, test, C, k):
    known = [i for i in train if labels[i][k]]
    machine = LinearSVC(C=C, tol=1e-9, max_iter=1_000_000)
    machine.fit([rows[i] for i in known], [labels[i][k] for i in known])
    return machine.decision_function([rows[i] for i in test])


def test_an_entry_on_images_holds_the_scores_of_linear_svc(voc2012, call, tmp_path):
    path = recipe(tmp_path, "voc2012")
    done = call("run", path, "--data-dir", voc2012.folder, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    entry = result["entry"]
    assert entry["competition"] == "comp2"
    assert (entry["n_fit"], entry["n_validation"], entry["n_test"]) == (10, 10, 10)
    written = call("submit", "voc2012", "--recipe", "entry", "--data-dir", voc2012.folder, "--json")
    assert written.code == 0, written.err
    (row,) = json.loads(written.out)
    files = content(row["archive"])
    assert list(files) == [f"results/VOC2012/Main/comp2_cls_test_{name}.txt" for name in sorted(voc2012.classes)]
    (block,) = stored_blocks(tmp_path / "home" / "features")
    found = load(block)
    rows = dict(zip(found.ids, unit(found.array.astype(float)), strict=True))
    train, test = voc2012.lists["train"] + voc2012.lists["val"], voc2012.lists["test"]
    for k, name in enumerate(voc2012.classes):
        stated = lines(files[f"results/VOC2012/Main/comp2_cls_test_{name}.txt"])
        assert list(stated) == [(i,) for i in test]
        expected = decisions(rows, voc2012.labels, train, test, entry["C"], k)
        np.testing.assert_allclose(list(stated.values()), expected, atol=1e-4)


@pytest.mark.parametrize("regions", [("image",), ("image", "box")])
def test_an_entry_on_people_has_a_line_per_person(voc_action, call, tmp_path, regions):
    done = call("run", recipe(tmp_path, "voc2012_action", regions), "--data-dir", voc_action.folder, "--json")
    assert done.code == 0, done.err
    out = tmp_path / "mine.tar.gz"
    written = call("submit", "voc2012_action", "--data-dir", voc_action.folder, "--output", out)
    assert written.code == 0, written.err
    assert call("submit", "voc2012_action", "--check", out, "--data-dir", voc_action.folder).code == 0
    files = content(out)
    assert list(files) == [f"results/VOC2012/Action/comp10_action_test_{name}.txt" for name in ("jumping", "reading")]
    blocks = {block.spec.region: load(block) for block in stored_blocks(tmp_path / "home" / "features")}
    pieces = [dict(zip(blocks[r].ids, unit(blocks[r].array.astype(float)), strict=True)) for r in regions]
    people = [person for part in voc_action.people.values() for person in part]
    rows = {p: np.concatenate([piece.get(p, piece.get(p.split("#")[0])) for piece in pieces]) for p in people}
    rows = {p: row / np.linalg.norm(row) for p, row in rows.items()}
    train, test = voc_action.people["train"] + voc_action.people["val"], voc_action.people["test"]
    C = json.loads(done.out)["entry"]["C"]
    for k, name in enumerate(("jumping", "reading")):
        stated = lines(files[f"results/VOC2012/Action/comp10_action_test_{name}.txt"])
        assert list(stated) == [tuple(p.split("#")) for p in test]
        np.testing.assert_allclose(
            list(stated.values()), decisions(rows, voc_action.labels, train, test, C, k), atol=1e-4
        )
        of_one_image = [stated["2010_003001", "2"], stated["2010_003001", "3"]]
        assert (of_one_image[0] == of_one_image[1]) == (regions == ("image",))  # the whole image cannot tell them apart


def test_an_entry_is_chosen_on_val_and_not_on_part_of_train(voc2012, call, tmp_path, without_dask, monkeypatch):
    """The local number chooses C on a fifth of train; the server's on all of val. So it is on a cluster."""
    path = recipe(tmp_path, "voc2012")
    result = json.loads(call("run", path, "--data-dir", voc2012.folder, "--json").out)
    (local,) = result["scores"][0]["splits"]
    assert (local["n_fit"], local["n_validation"], local["n_test"]) == (8, 2, 10)
    assert result["entry"]["sha256"] != local["sha256"]
    assert "These are local numbers, none of the server's" in call("report", "entry").out
    (tmp_path / "home" / "results").rename(tmp_path / "one machine")
    cluster, fitted = without_dask(), []
    fit = cluster._fit
    monkeypatch.setattr(cluster, "_fit", lambda s: fitted.append((s.line.number, s.split)) or fit(s))
    done = call("evaluate", "--recipe", path, "--data-dir", voc2012.folder, "--scheduler", "tcp://a:1", "--json")
    assert fitted == [(0, 0), ("official", 0)]
    assert json.loads(done.out)["entry"] == result["entry"]
    kept = []
    for folder in ("one machine", "home/results"):
        with np.load(next((tmp_path / folder).glob("entry/*/test-scores.npz"))) as file:
            kept.append({name: file[name] for name in file.files if file[name].dtype.kind == "f"})
    assert kept[0].keys() == kept[1].keys()
    assert len(kept[0]) >= 2
    for name, values in kept[0].items():
        np.testing.assert_allclose(kept[1][name], values, atol=1e-5)


def test_the_same_scores_are_the_same_bytes(voc2012, call, tmp_path):
    path = recipe(tmp_path, "voc2012")
    call("run", path, "--data-dir", voc2012.folder)
    hashes = set()
    for name in ("one.tar.gz", "other.tar.gz"):
        done = call("submit", "voc2012", "--data-dir", voc2012.folder, "--output", tmp_path / name, "--json")
        hashes.add(json.loads(done.out)[0]["sha256"])
    assert len(hashes) == 1


def test_what_is_no_entry_is_explained(voc2012, call, tmp_path):
    path = recipe(tmp_path, "voc2012")
    place = ("--data-dir", voc2012.folder)
    none = call("submit", "voc2012", *place)
    assert (none.code, "there is no result on voc2012" in none.err) == (1, True)
    assert call("submit", "voc2012", "--check", "a.tar.gz", "--recipe", "entry", *place).code == 2
    tests = voc2012.folder / "test"
    tests.rename(tmp_path / "elsewhere")
    assert json.loads(call("run", path, *place, "--json").out)["entry"] is None
    without = call("submit", "voc2012", *place)
    assert (without.code, "the test images are not there" in without.err) == (1, True)
    (tmp_path / "elsewhere").rename(tests)
    unscored = call("submit", "voc2012", *place)
    assert (unscored.code, "has no scores of test images" in unscored.err) == (1, True)
    assert json.loads(call("run", path, *place, "--json").out)["entry"]["n_test"] == 10  # another result, not reused
    listed = tests / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / "test.txt"
    whole = listed.read_text()
    listed.write_text("".join(whole.splitlines(keepends=True)[1:]))
    fewer = call("submit", "voc2012", *place)
    assert (fewer.code, "other test entries than are there now, 1 differ" in fewer.err) == (1, True)
    listed.write_text(whole)
    tried = json.loads(call("run", path, *place, "--limit", 5, "--json").out)["folder"]
    trial = call("submit", "voc2012", *place, "--recipe", tried)
    assert (trial.code, "is a trial with up to 5 images" in trial.err) == (1, True)
    assert not list(tmp_path.rglob("*.tar.gz"))
    assert call("submit", "voc2012", *place).code == 0  # a later trial does not stand before a whole result
    (archive,) = tmp_path.rglob("*.tar.gz")
    assert archive.parent.name != tried.rpartition("/")[2]


def test_people_of_a_photograph_that_was_left_out_make_no_entry(voc_action, call, tmp_path):
    """A truncated photograph of two test people: both are left out of both regions, and the server wants all."""
    photograph = voc_action.root / "JPEGImages" / "2010_003001.jpg"
    photograph.write_bytes(photograph.read_bytes()[:-400])
    path, place = recipe(tmp_path, "voc2012_action", ("image", "box")), ("--data-dir", voc_action.folder)
    assert call("run", path, *place).code == 1
    done = call("run", path, *place, "--on-bad-image", "skip", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["entry"]["n_test"] == 4
    refused = call("submit", "voc2012_action", *place)
    assert refused.code == 1
    assert "has no scores of 2 test entries, first 2010_003001#2: left out when evaluated" in refused.err
