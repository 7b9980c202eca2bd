import gzip
import hashlib
import io
import tarfile

import pytest

from transferbench.errors import ResultError
from transferbench.reporting.submission import Entry, check_submission, write_submission

IMAGES = Entry(year="VOC2012", competition="comp2", classes=("cat", "train"), ids=("2008_000002", "2009_000001"))
PEOPLE = Entry(year="VOC2012", competition="comp10", classes=("jumping",), ids=("2010_000001#1", "2010_000001#3"))
SCORES = {"cat": [0.5, -1.25], "train": [1e-7, 3.0]}


def content(path):
    with tarfile.open(path, "r:gz") as tar:
        return {member.name: tar.extractfile(member).read().decode() for member in tar}


def archived(tmp_path, files, name="results.tar.gz", mode="w:gz"):
    path = tmp_path / name
    with tarfile.open(path, mode) as tar:
        for member, text in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


def test_images_have_a_line_each_in_a_file_per_class(tmp_path):
    write_submission(tmp_path / "r.tar.gz", IMAGES, SCORES)
    assert content(tmp_path / "r.tar.gz") == {
        "results/VOC2012/Main/comp2_cls_test_cat.txt": "2008_000002 0.500000000\n2009_000001 -1.250000000\n",
        "results/VOC2012/Main/comp2_cls_test_train.txt": "2008_000002 0.000000100\n2009_000001 3.000000000\n",
    }
    assert check_submission(tmp_path / "r.tar.gz", IMAGES) == []


def test_people_have_a_line_each_with_their_object_index(tmp_path):
    write_submission(tmp_path / "r.tar.gz", PEOPLE, {"jumping": [1.0, 2.0]})
    name = "results/VOC2012/Action/comp10_action_test_jumping.txt"
    assert content(tmp_path / "r.tar.gz") == {name: "2010_000001 1 1.000000000\n2010_000001 3 2.000000000\n"}
    assert check_submission(tmp_path / "r.tar.gz", PEOPLE) == []


def test_equal_scores_give_equal_bytes(tmp_path):
    digests = set()
    for name in ("one.tar.gz", "other.tar.gz"):
        write_submission(tmp_path / name, IMAGES, SCORES)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_no_time_and_no_owner_is_written(tmp_path):
    write_submission(tmp_path / "r.tar.gz", IMAGES, SCORES)
    assert (tmp_path / "r.tar.gz").read_bytes()[4:8] == bytes(4)  # the time in the header of gzip
    with tarfile.open(tmp_path / "r.tar.gz") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in tar} == {(0, 0, 0, "", "")}


@pytest.mark.parametrize(
    ("name", "scores", "told"),
    [
        ("r.tar", SCORES, "takes .tar.gz only"),
        ("r.tar.gz", {"cat": [0.5, 1.0]}, "class train has 0 scores for 2"),
        ("r.tar.gz", SCORES | {"cat": [float("nan"), 1.0]}, "the score of 2008_000002 is nan"),
    ],
)
def test_what_cannot_be_submitted_is_not_written(tmp_path, name, scores, told):
    with pytest.raises(ResultError, match=told):
        write_submission(tmp_path / name, IMAGES, scores)
    assert not (tmp_path / name).exists()


CAT, TRAIN = (IMAGES.file(name) for name in IMAGES.classes)
GOOD = "2008_000002 0.500000\n2009_000001 0.250000\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2008_000002 0.500000\n", "1 test entry(s) are not there, first 2009_000001"),
        (GOOD + "2007_000001 0.100000\n", "1 line(s) are no test entry, first 2007_000001"),
        (GOOD + "2008_000002 0.100000\n", "1 line(s) are repeated, first 2008_000002"),
        ("2008_000002 0.500\n2009_000001 0.250000\n", "1 score(s) have fewer than 6 decimals, first 0.500"),
        ("2008_000002 inf\n2009_000001 0.250000\n", "1 score(s) are no finite decimal numbers, first inf"),
        ("2008_000002\n2009_000001 0.250000\n", "line 1 has not 2 words"),
    ],
)
def test_a_bad_line_is_named(tmp_path, text, told):
    problems = check_submission(archived(tmp_path, {CAT: text, TRAIN: GOOD}), IMAGES)
    assert any(problem.startswith(f"{CAT}: {told}") for problem in problems)


def test_names_are_held_against_the_competition(tmp_path):
    other = CAT.replace("comp2", "comp1")
    problems = check_submission(archived(tmp_path, {other: GOOD, TRAIN: GOOD}), IMAGES)
    assert problems == [
        f"{CAT}: not there",
        f"{other}: would be entered as comp1; these scores belong into comp2",
    ]


def test_a_plain_tar_and_a_cut_archive_are_refused(tmp_path):
    plain = archived(tmp_path, {CAT: GOOD, TRAIN: GOOD}, name="results.tar", mode="w")
    assert "is no .tar.gz archive" in check_submission(plain, IMAGES)[0]
    whole = archived(tmp_path, {CAT: GOOD, TRAIN: GOOD})
    whole.write_bytes(whole.read_bytes()[:-30])
    assert "is no .tar.gz archive" in check_submission(whole, IMAGES)[0]
    assert "is no .tar.gz archive" in check_submission(tmp_path / "absent.tar.gz", IMAGES)[0]


def test_an_archive_that_grows_is_not_read(tmp_path):
    info = tarfile.TarInfo(CAT)
    info.size = 1 << 40
    (tmp_path / "bomb.tar.gz").write_bytes(gzip.compress(info.tobuf() + b"\0" * 2048))
    assert "is larger than" in check_submission(tmp_path / "bomb.tar.gz", IMAGES)[0]
