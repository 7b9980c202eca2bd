"""`tb datasets` from the outside: check, splits, fetch, list, show; and the other verbs on small trees."""

import gzip
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.svm import LinearSVC

from transferbench import builtin
from transferbench.cache.store import stored_blocks
from transferbench.cache.verification import load
from transferbench.data import Place, open_dataset
from transferbench.data.record import load_record, record_names
from transferbench.reporting.submission import Entry, write_submission


def findings(result):
    return [(f["severity"], f["what"], f["where"]) for f in json.loads(result.out)["findings"]]


def test_a_good_tree_is_told_as_good(voc2007, tb):
    result = tb("datasets", "check", "voc2007", "--data-dir", voc2007.folder, "--deep")
    assert result.code == 0
    assert "the counts of 3 classes are the published ones" in result.out
    assert "36 image files decoded" in result.out
    assert "not RGB: 1 CMYK, 1 grey; converted when read" in result.out
    assert "split train+val to test: 12 to fit, 12 to choose C, 12 to test" in result.out


def test_ten_different_faults_are_named_in_one_run(voc2007, call, photo):
    lists, images = voc2007.root / "ImageSets" / "Main", voc2007.root / "JPEGImages"
    (lists / "cat_train.txt").unlink()  # 1 a missing label file
    (lists / "train_val.txt").write_text("".join(f"{i} 2\n" for i in voc2007.lists["val"]))  # 2 labels of no kind
    (lists / "person_val.txt").write_text((lists / "person_val.txt").read_text().split("\n", 1)[1])  # 3 a lost label
    (lists / "test.txt").write_text((lists / "test.txt").read_text() + "000001\n")  # 4 + 5 overlap, wrong count
    (images / "000002.jpg").unlink()  # 6 a missing image
    (images / "000006.jpg").write_bytes(b"")  # 7 an empty one
    (images / "000007.jpg").write_text("<html>404</html>")  # 8 a web page
    (images / "000008.jpg").write_bytes(photo(8)[:60])  # 9 no image left
    (images / "notes.txt").write_text("mine")  # 10 a stray file
    result = call("datasets", "check", "voc2007", "--data-dir", voc2007.folder, "--json")
    assert result.code == 1
    told = findings(result)
    for severity, what, where in (
        ("missing", "class cat has no labels for train", "cat_train.txt"),
        ("corrupt", "12 ids, first 000013, repeated, or with a label that is not 1, -1 or 0", "train_val.txt"),
        ("wrong", "class person has no label of 1 id, 000013 of val", "person_val.txt"),
        ("wrong", "1 image, 000001, in both train and test", ""),
        ("wrong", "test: 13 images, but 12 are published", ""),
        ("missing", "1 image, 000002.jpg", "JPEGImages"),
        ("corrupt", "is empty (zero bytes)", "000006.jpg"),
        ("corrupt", "is neither a JPEG nor a PNG image", "000007.jpg"),
        ("corrupt", "is ", "000008.jpg"),
        ("stray", "1 file, notes.txt, in no list; not used", "JPEGImages"),
    ):
        found = [(s, w, p) for s, w, p in told if s == severity and w.startswith(what) and p.endswith(where)]
        assert found, (what, told)


def test_a_bad_image_is_told_with_its_own_remedy(call, photo, tmp_path):
    root = tmp_path / "pets"
    for c, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for k in range(5):
            (root / name / f"{k}.jpg").write_bytes(photo(10 * c + k))
    (root / "cat" / "0.jpg").write_bytes(photo(1, format="GIF"))
    (root / "cat" / "1.jpg").write_bytes(b"")
    Image.new("1", (10_000, 5_001)).save(root / "cat" / "2.png")
    told = json.loads(call("datasets", "check", f"imagefolder:{root}", "--json").out)["findings"]
    bad = [(Path(f["where"]).name, f["what"], f["todo"]) for f in told if f["severity"] == "corrupt"]
    large = "claims 10000 x 5001 px; more than 50,000,000 pixels are not decoded"
    assert bad == [
        ("0.jpg", "is neither a JPEG nor a PNG image", "get the file again, or convert it to a JPEG or PNG"),
        ("1.jpg", "is empty (zero bytes)", "get it again"),
        ("2.png", large, "replace the file by an image of reasonable size"),
    ]
    stopped = call("extract", "--recipe", recipe(tmp_path, f"imagefolder:{root}"))
    assert stopped.err.endswith(
        "cat/0.jpg: is neither a JPEG nor a PNG image\n"
        "  Get the file again, or convert it to a JPEG or PNG; or go on without it: --on-bad-image skip\n"
    )


def test_a_limited_check_opens_a_few_images_and_reads_all_lists(voc2007, call):
    (voc2007.root / "ImageSets" / "Main" / "cat_train.txt").unlink()
    result = call("datasets", "check", "voc2007", "--data-dir", voc2007.folder, "--limit", 1, "--json")
    assert result.code == 1
    told = [what for _, what, _ in findings(result)]
    assert "class cat has no labels for train" in told
    (trial,) = [what for what in told if what.startswith("TRIAL: only")]
    n_opened = int(trial.split()[2])
    assert 4 <= n_opened < 36
    assert f"{n_opened} image files have a good header" in told


def test_deep_finds_what_a_header_hides(caltech101, call, photo):
    path = caltech101.root / "Faces" / "image_0003.jpg"
    path.write_bytes(photo(9, size=(200, 150))[:-600])
    (caltech101.root / "Faces" / "image_0004.jpg").write_bytes(
        (caltech101.root / "BACKGROUND_Google" / "image_0004.jpg").read_bytes()
    )
    shallow = call("datasets", "check", "caltech101", "--data-dir", caltech101.folder)
    deep = call("datasets", "check", "caltech101", "--data-dir", caltech101.folder, "--deep")
    assert shallow.code == 0
    assert deep.code == 1
    assert str(path) in deep.out
    told = "1 group of files with equal contents, first image_0004.jpg = image_0004.jpg; random splits may part them"
    assert told in deep.out


def test_deep_tells_copies_of_training_images_among_those_tested(voc2007, call, photo):
    """Of three copied images one stays within its part; the saved-anew one is another file of the same photograph."""
    images = voc2007.root / "JPEGImages"

    def told():
        done = call("datasets", "check", "voc2007", "--data-dir", voc2007.folder, "--deep", "--json")
        return [f["what"] for f in json.loads(done.out)["findings"] if "equal contents" in f["what"]]

    (images / "000002.jpg").write_bytes((images / "000001.jpg").read_bytes())
    assert told() == ["1 group of files with equal contents, first 000001.jpg = 000002.jpg; all within a part"]
    for copy, original in (("000030", "000003"), ("000014", "000007")):  # test of train, val of train
        (images / f"{copy}.jpg").write_bytes((images / f"{original}.jpg").read_bytes())
    (found,) = told()
    assert found.startswith("3 groups of files with equal contents")
    assert found.endswith("; 2 of them across test and train, so that what is held out has been seen")


def test_deep_finds_a_copy_that_was_saved_anew(caltech101, call, photo):
    Image.open(io.BytesIO(photo(77, size=(160, 120)))).save(caltech101.root / "Faces" / "image_0003.jpg", quality=95)
    copy = Image.open(caltech101.root / "Faces" / "image_0003.jpg").resize((120, 90), Image.Resampling.BICUBIC)
    copy.save(caltech101.root / "inline_skate" / "image_0005.jpg", quality=90)
    deep = call("datasets", "check", "caltech101", "--data-dir", caltech101.folder, "--deep")
    assert deep.code == 0
    assert "image_0003.jpg and image_0005.jpg: copies of one photograph?" in deep.out


def test_an_empty_folder_is_explained(call, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in set(record_names()) - {"digits"}:
        result = call("datasets", "check", name, "--data-dir", tmp_path / "empty")
        assert result.code == 1, name
        assert "MISSING" in result.out
        assert "nothing recognised" in result.out


def test_a_check_loads_no_torch(voc2007):
    script = "import sys; from transferbench.cli import main\ntry:\n main()\nfinally:\n print('torch' in sys.modules)"
    command = [sys.executable, "-c", script, "datasets", "check", "voc2007", "--data-dir", str(voc2007.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_many_stray_files_are_counted(caltech101, call):
    for k in range(30):
        (caltech101.root / "Faces" / f"note{k:02d}.txt").write_text("mine")
    told = call("datasets", "check", "caltech101", "--data-dir", caltech101.folder, "--json")
    strays = [one["what"] for one in json.loads(told.out)["findings"] if one["severity"] == "stray"]
    assert (len(strays), strays[-1]) == (21, "11 more like these; not used")  # BACKGROUND_Google/tmp is another


def test_an_unknown_dataset_gets_a_suggestion(call):
    result = call("datasets", "check", "voc207")
    assert result.code == 1
    assert "Did you mean 'voc2007'?" in result.err


def test_splits_are_written_as_text_that_sha256sum_confirms(caltech256, call, tmp_path):
    arguments = ("datasets", "splits", "caltech256", "--data-dir", caltech256.folder)
    result = call(*arguments, "--write", tmp_path / "splits", "--json")
    assert result.code == 0
    for number, row in enumerate(json.loads(result.out), 1):
        data = (tmp_path / "splits" / f"caltech256-split{number}.txt").read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        lines = [line.split("\t") for line in data.decode().splitlines()[1:]]
        assert [line[0] for line in lines].count("fit") == row["fit"] == 9
        assert len({line[1] for line in lines}) == len(lines) == 21
    by_class = json.loads(call(*arguments, "--by-class", "--json").out)
    assert by_class[0] == {"split": "1 of 3", "class": "056.dog", "fit": 3, "validation": 1, "test": 2}


def test_the_splits_of_digits_are_pinned(call):
    # Ranks by SHA-256 of "<seed>/<split>/<id>", computed here from the definition alone.
    from sklearn.datasets import load_digits

    record = load_record("digits")
    numbers = load_digits().target
    everyone = sorted(
        (f"digit-{k:04d}" for k in range(len(numbers))), key=lambda i: hashlib.sha256(f"2015/0/{i}".encode()).digest()
    )
    target = sorted(everyone[1000:])
    fit, validation, test = [], [], []
    for number in range(10):
        members = [i for i in target if numbers[int(i[6:])] == number]
        members.sort(key=lambda i: hashlib.sha256(f"1/1/{i}".encode()).digest())
        validation += members[:2]
        fit += members[2:10]
        test += members[10:]
    text = json.dumps([sorted(fit), sorted(validation), sorted(test)], separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == record.protocol.sha256[0]
    assert call("datasets", "check", "digits").code == 0


def test_divisions_with_few_training_images_are_shown_and_written(call, tmp_path):
    done = call("datasets", "splits", "digits", "--low-shot", "2,1,2", "--write", tmp_path, "--json")
    rows = json.loads(done.out)
    # Two of ten classes' images: one to fit on, one to choose C with; one image alone is fitted on.
    assert [(r["per_class"], r["split"], r["fit"], r["validation"]) for r in rows] == [
        *((2, f"{n} of 3", 10, 10) for n in (1, 2, 3)),
        *((1, f"{n} of 3", 10, 0) for n in (1, 2, 3)),
    ]
    parts = {}
    for n in (1, 2):
        text = (tmp_path / f"digits-split3-{n}-per-class.txt").read_bytes()
        assert hashlib.sha256(text).hexdigest() == next(
            r["sha256"] for r in rows if (r["per_class"], r["split"]) == (n, "3 of 3")
        )
        lines = [line.split() for line in text.decode().splitlines() if not line.startswith("#")]
        parts[n] = {line[-1]: line[0] for line in lines}
    training = {n: {i for i, part in found.items() if part != "test"} for n, found in parts.items()}
    assert training[1] < training[2]
    assert {i for i, p in parts[1].items() if p == "test"} == {i for i, p in parts[2].items() if p == "test"}
    by_class = json.loads(call("datasets", "splits", "digits", "--low-shot", "4", "--by-class", "--json").out)
    assert {(r["per_class"], r["fit"], r["validation"]) for r in by_class} == {(4, 3, 1)}
    assert call("datasets", "splits", "digits", "--low-shot", "0").code == 2
    assert "has 10 training images" in call("datasets", "splits", "digits", "--low-shot", "11").err


def test_changed_splits_are_refused(record, call):
    shipped = yaml.safe_load((builtin.folder("datasets") / "digits" / "dataset.yaml").read_text())
    record("digits", protocol=shipped["protocol"] | {"seed": 2})
    result = call("datasets", "splits", "digits")
    assert result.code == 1
    assert "split 1 of 3 is not the recorded one" in result.err


def test_every_record_can_be_listed_and_shown(call):
    listed = {row["dataset"] for row in json.loads(call("datasets", "list", "--json").out)}
    assert listed == set(record_names())
    for name in listed:
        assert call("datasets", "show", name).code == 0
        shown = json.loads(call("datasets", "show", name, "--json").out)
        assert shown["licence"]
        assert shown["citation"]
        assert (builtin.folder("datasets") / name / "README.md").is_file()


@pytest.fixture
def server():
    """Serve bytes by path on 127.0.0.1; count requests."""
    files: dict[str, bytes] = {}
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            data = files.get(self.path)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", files, requests
        running.shutdown()


def packed(folder, names):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in names:
            tar.add(folder / name, name)
    return file.getvalue()


def archive(name, data, urls, **options):
    digest = {"md5": hashlib.md5(data).hexdigest()}
    return {"file": name, "holds": name, "access": "open", "urls": urls} | digest | options


def test_fetch_downloads_checks_and_unpacks_once(voc2007, record, server, tb, tmp_path):
    address, files, requests = server
    files["/voc.tar"] = packed(voc2007.folder, ["VOCdevkit"])
    # The mirror serves it; the official address is gone.
    urls = [f"{address}/gone.tar", f"{address}/voc.tar"]
    record("voc2007", archives=[archive("voc.tar", files["/voc.tar"], urls)])
    result = tb("datasets", "fetch", "voc2007")
    assert result.code == 0
    assert requests == ["/gone.tar", "/voc.tar"]
    assert not (tmp_path / "home/data/voc2007/archives/voc.tar").exists()
    assert tb("datasets", "check", "voc2007").code == 0
    again = tb("datasets", "fetch", "voc2007")
    assert "was unpacked before" in again.out
    assert len(requests) == 2
    (tmp_path / "home/data/voc2007/VOCdevkit/VOC2007/JPEGImages/000001.jpg").unlink()
    assert tb("datasets", "fetch", "voc2007", "--again", "--keep-archives").code == 0
    assert (tmp_path / "home/data/voc2007/archives/voc.tar").is_file()
    assert tb("datasets", "check", "voc2007").code == 0


def test_fetch_refuses_another_file_and_keeps_nothing(voc2007, record, server, tb, tmp_path):
    address, files, _ = server
    good = packed(voc2007.folder, ["VOCdevkit"])
    files["/voc.tar"] = b"<!DOCTYPE html><html>moved</html>"
    record("voc2007", archives=[archive("voc.tar", good, [f"{address}/voc.tar"])])
    result = tb("datasets", "fetch", "voc2007")
    assert result.code == 1
    assert "web page" in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "home/data/voc2007/VOCdevkit").exists()


def test_fetch_refuses_a_hostile_archive_of_the_right_hash(record, server, call, tmp_path):
    address, files, _ = server
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as hostile:
        hostile.writestr("../../evil.txt", "x")
    files["/a.zip"] = file.getvalue()
    record("caltech101", archives=[archive("a.zip", files["/a.zip"], [f"{address}/a.zip"])])
    result = call("datasets", "fetch", "caltech101")
    assert result.code == 1
    assert "leads out of the folder" in result.err
    assert not list(tmp_path.rglob("evil.txt"))


def test_fetch_looks_for_room_first(record, server, call):
    address, _, requests = server
    record("caltech101", archives=[archive("a.zip", b"x", [f"{address}/a.zip"], about_bytes=10**18)])
    result = call("datasets", "fetch", "caltech101")
    assert result.code == 1
    assert "GB are needed" in result.err
    assert requests == []


def test_gated_archives_are_never_downloaded_but_unpacked_when_they_are_there(ilsvrc, record, tb, tmp_path):
    folder = tmp_path / "home" / "data" / "ilsvrc2012"
    classes = io.BytesIO()
    with tarfile.open(fileobj=classes, mode="w") as tar:
        for wnid in sorted(p.name for p in (ilsvrc.folder / "train").iterdir()):
            inner = packed(
                ilsvrc.folder / "train" / wnid, sorted(p.name for p in (ilsvrc.folder / "train" / wnid).iterdir())
            )
            info = tarfile.TarInfo(f"{wnid}.tar")
            info.size = len(inner)
            tar.addfile(info, io.BytesIO(inner))
    data = {
        "ILSVRC2012_img_train.tar": classes.getvalue(),
        "ILSVRC2012_img_val.tar": packed(
            ilsvrc.folder / "val", sorted(p.name for p in (ilsvrc.folder / "val").iterdir())
        ),
        "ILSVRC2012_devkit_t12.tar.gz": packed(ilsvrc.folder, ["ILSVRC2012_devkit_t12"]),
    }
    data["ILSVRC2012_devkit_t12.tar.gz"] = gzip.compress(data["ILSVRC2012_devkit_t12.tar.gz"])
    shipped = yaml.safe_load((builtin.folder("datasets") / "ilsvrc2012" / "dataset.yaml").read_text())["archives"]
    for one in shipped:
        one["md5"], one["about_bytes"] = hashlib.md5(data[one["file"]]).hexdigest(), len(data[one["file"]])
    record("ilsvrc2012", archives=shipped)
    refused = tb("datasets", "fetch", "ilsvrc2012")
    assert refused.code == 1
    assert "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php" in refused.err
    assert str(folder / "archives") in refused.err
    (folder / "archives").mkdir(parents=True)
    for name, content in data.items():
        (folder / "archives" / name).write_bytes(content)
    assert tb("datasets", "fetch", "ilsvrc2012").code == 0
    assert tb("datasets", "check", "ilsvrc2012", "--deep").code == 0


def recipe(tmp_path, dataset, scales=(32,)):
    content = {
        "version": 1,
        "dataset": dataset,
        "features": {
            "nets": [{"name": "A", "width": 0.0625, "crop": 32, "weights": {"kind": "random"}}],
            "scales": list(scales),
            "flip": True,
        },
        "aggregate": {"kind": "stack", "l2": "both"},
        "svm": {"loss": "squared_hinge", "C": [0.1, 1.0], "selection": "validation"},
        "claims": None,
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_whole_chain_runs_on_caltech(caltech101, tb, tmp_path):
    path = recipe(tmp_path, "caltech101", scales=(32, 64))
    result = tb("run", path, "--data-dir", caltech101.folder, "--json")
    assert result.code == 0, result.err
    found = result.json()
    assert found["limit"] is None
    assert [split["n_test"] for split in found["scores"][0]["splits"]] == [10, 10, 10]
    rows = unit_rows(tmp_path / "home" / "features")
    dataset = open_dataset("caltech101", Place(folder=caltech101.folder))
    for split, stated in zip(dataset.splits(), found["scores"][0]["splits"], strict=True):
        machine = LinearSVC(C=stated["C"], tol=1e-8, max_iter=1_000_000)
        machine.fit([rows[i] for i in split.train], dataset.labels.of(split.train))
        predicted = machine.predict([rows[i] for i in split.test])
        assert stated["value"] == pytest.approx(balanced_accuracy_score(dataset.labels.of(split.test), predicted))
    assert "TRIAL" not in tb("report", "small").out


def test_a_trial_is_marked_everywhere(caltech101, call, tmp_path):
    path = recipe(tmp_path, "caltech101")
    result = call("run", path, "--data-dir", caltech101.folder, "--limit", 4)
    assert result.code == 0, result.err
    assert "small: TRIAL, mean class recall" in result.out
    assert "TRIAL with up to 4 images of every class" in result.out
    (page,) = (tmp_path / "home" / "results").rglob("report.html")
    assert "TRIAL" in page.read_text()
    stored = json.loads((page.parent / "result.json").read_text())
    assert stored["limit"] == 4
    assert [s["n_fit"] + s["n_validation"] + s["n_test"] for s in stored["scores"][0]["splits"]] == [12, 12, 12]


@pytest.mark.parametrize("name", ["voc2007", "voc2012", "coco2014"])
def test_the_whole_chain_runs_on_images_with_several_classes(name, request, call, tmp_path):
    tree = request.getfixturevalue(name.removesuffix("2014"))
    path = recipe(tmp_path, name)
    result = call("run", path, "--data-dir", tree.folder, "--json")
    assert result.code == 0, result.err
    again = call("evaluate", "--recipe", path, "--data-dir", tree.folder)
    assert (result.err + again.err).count("no pictures") == 0
    found = json.loads(result.out)
    first = {"voc2007": "11-point", "voc2012": "area", "coco2014": "non-interpolated"}[name]
    assert found["metric"] == f"mean average precision ({first})"
    (split,) = found["scores"][0]["splits"]
    values = {found["metric"]: split["value"], **dict(split["others"])}
    kinds = ("11-point", "area", "non-interpolated")
    assert values.keys() == {f"mean average precision ({kind})" for kind in kinds}
    assert split["value"] == pytest.approx(sum(split["per_class"]) / len(split["per_class"]))
    folder = Path(found["folder"])
    assert "Average precision per class" in (folder / "report.html").read_text()
    assert "Confusion matrix" not in (folder / "report.html").read_text()
    assert all(metric in (folder / "report.md").read_text() for metric in values)
    if name != "voc2012":  # the other two have images that are left out for some classes
        assert any(0 in tree.labels[i] for i in tree.lists["test"])
        expected = precision_by_scikit_learn(tmp_path / "home" / "features", tree, split["C"])
        assert values["mean average precision (non-interpolated)"] == pytest.approx(expected, abs=1e-6)


def unit_rows(features):
    """Stack the blocks of a work folder, each row of unit length, then the whole rows of unit length."""
    blocks = [load(stored) for stored in stored_blocks(features)]
    parts = [b.array.astype(float) / np.linalg.norm(b.array, axis=1, keepdims=True) for b in blocks]
    return dict(zip(blocks[0].ids, np.concatenate(parts, axis=1) / np.sqrt(len(parts)), strict=True))


def precision_by_scikit_learn(features, tree, C):
    """Mean average precision on the test part by LinearSVC and scikit-learn's metric; difficult images left out."""
    row = unit_rows(features)
    values = []
    for k in range(len(tree.classes)):
        train, test = ([i for i in tree.lists[part] if tree.labels[i][k]] for part in ("trainval", "test"))
        machine = LinearSVC(C=C, tol=1e-8, max_iter=1_000_000)
        machine.fit([row[i] for i in train], [tree.labels[i][k] for i in train])
        truth = [tree.labels[i][k] > 0 for i in test]
        values.append(average_precision_score(truth, machine.decision_function([row[i] for i in test])))
    return np.mean(values)


def test_a_tree_too_small_to_judge_every_class_is_extracted_and_says_so(coco, call, tmp_path):
    without_toothbrush_in_val(coco)
    path = recipe(tmp_path, "coco2014")
    result = call("extract", "--recipe", path, "--data-dir", coco.folder, "--json")
    assert result.code == 0, result.err
    (block,) = json.loads(result.out)
    assert block["images"] == 32
    refused = call("evaluate", "--recipe", path, "--data-dir", coco.folder)
    assert refused.code == 1
    assert "class 'toothbrush' has no positive image to test on in split train2014 to val2014.\n  Give" in refused.err


def test_a_class_without_test_images_is_told_before_anything_is_extracted(coco, call, tmp_path):
    without_toothbrush_in_val(coco)
    path = recipe(tmp_path, "coco2014")
    for verb in (("run", path), ("evaluate", "--recipe", path, "--extract")):
        refused = call(*verb, "--data-dir", coco.folder)
        assert refused.code == 1
        assert "class 'toothbrush' has no positive image to test on" in refused.err
        assert "extract" not in refused.err
    assert not list(tmp_path.glob("home/features/**/*.h5"))


def without_toothbrush_in_val(coco):
    path = coco.folder / "annotations" / "instances_val2014.json"
    content = json.loads(path.read_text())
    content["annotations"] = [found for found in content["annotations"] if found["category_id"] != 90]
    path.write_text(json.dumps(content))


def test_a_trial_with_three_images_of_every_class_runs(voc2012, call, tmp_path):
    """A fifth of so few images, by chance, would choose C without some class."""
    done = call("run", recipe(tmp_path, "voc2012"), "--data-dir", voc2012.folder, "--limit", 3)
    assert done.code == 0, done.err
    assert "TRIAL with up to 3 images of every class" in done.out
    fewer = call("run", recipe(tmp_path, "voc2012"), "--data-dir", voc2012.folder, "--limit", 1)
    assert (fewer.code, fewer.err.endswith("\n  Or take more images than --limit 1.\n")) == (1, True)


def test_an_own_folder_can_be_pretrained_on_and_evaluated(call, tmp_path, photo):
    for c in range(2):
        (tmp_path / "own" / f"class {c}").mkdir(parents=True)
        for k in range(6):
            (tmp_path / "own" / f"class {c}" / f"{k}.jpg").write_bytes(photo(800 + 10 * c + k))
    name = f"imagefolder:{tmp_path / 'own'}"
    result = call("run", recipe(tmp_path, name), "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["classes"] == ["class 0", "class 1"]
    content = yaml.safe_load((builtin.folder("recipes") / "pretrain" / "digits_a.yaml").read_text())
    content |= {"dataset": name, "epochs": 1, "net": {"name": "A", "width": 0.0625, "crop": 32}, "short_side": 32}
    (tmp_path / "own_a.yaml").write_text(yaml.safe_dump(content))
    trained = call("pretrain", "--recipe", tmp_path / "own_a.yaml", "--limit", 4, "--json")
    assert trained.code == 0, trained.err
    assert "own_a-trial" in json.loads(trained.out)["run"]


def test_a_changed_photograph_is_another_block(caltech101, call, tmp_path, photo):
    path = recipe(tmp_path, "caltech101")
    arguments = ("extract", "--recipe", path, "--data-dir", caltech101.folder, "--json")
    (before,) = json.loads(call(*arguments).out)
    image = caltech101.root / "Faces" / "image_0001.jpg"
    state = image.stat()
    changed = bytearray(image.read_bytes())
    changed[-10] ^= 1  # same size
    image.write_bytes(bytes(changed))
    os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    (after,) = json.loads(call(*arguments).out)
    (same,) = json.loads(call(*arguments).out)
    assert before["block"] != after["block"] == same["block"]


def test_a_changed_label_is_another_result(call, tmp_path, photo):
    # The division is given, so that ids and splits stay as they are when two test images change their labels.
    rows = [f"p{k}.jpg,{'odd' if k % 2 else 'even'},{'train' if k >= 4 else 'test'}" for k in range(12)]
    for k in range(12):
        (tmp_path / f"p{k}.jpg").write_bytes(photo(900 + k))
    (tmp_path / "own.csv").write_text("path,label,split\n" + "\n".join(rows))
    path = recipe(tmp_path, f"csv:{tmp_path / 'own.csv'}")
    first = json.loads(call("run", path, "--json").out)
    assert json.loads(call("run", path, "--json").out)["folder"] == first["folder"]
    rows[0], rows[1] = rows[0].replace("even", "odd"), rows[1].replace("odd", "even")
    (tmp_path / "own.csv").write_text("path,label,split\n" + "\n".join(rows))
    assert json.loads(call("run", path, "--json").out)["folder"] != first["folder"]


def test_an_entry_to_the_server_is_checked_against_the_test_images(voc2012, voc2007, call, tmp_path):
    classes = voc2012.classes
    entry = Entry(year="VOC2012", competition="comp2", classes=classes, ids=tuple(voc2012.lists["test"]))
    path = tmp_path / "entry.tar.gz"
    write_submission(path, entry, {name: [float(k) for k in range(len(entry.ids))] for name in classes})
    good = call("submit", "voc2012", "--check", path, "--data-dir", voc2012.folder)
    assert good.code == 0, good.err
    (voc2012.folder / "test/VOCdevkit/VOC2012/ImageSets/Main/test.txt").write_text(entry.ids[0] + "\n")
    bad = call("submit", "voc2012", "--check", path, "--data-dir", voc2012.folder)
    assert bad.code == 1
    assert "9 line(s) are no test entry" in bad.err
    without_server = call("submit", "voc2007", "--check", path, "--data-dir", voc2007.folder)
    assert "there is no server to submit to" in without_server.err
