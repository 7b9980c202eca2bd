import hashlib

import pytest

from transferbench.data import Place, open_dataset
from transferbench.errors import DatasetError


@pytest.fixture
def table(tmp_path, photo):
    for k in range(12):
        (tmp_path / f"p{k:02d}.png").write_bytes(photo(700 + k, format="PNG"))

    def write(text: str):
        path = tmp_path / "own.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def opened(path, **options):
    return open_dataset(f"csv:{path}", Place(folder=path.parent, **options))


def test_single_labels_are_divided_by_class(table):
    path = table("path,label\n" + "".join(f"p{k:02d}.png,{'odd' if k % 2 else 'even'}\n" for k in range(12)))
    dataset = opened(path)
    assert dataset.labels.by_id["p03.png"] == dataset.labels.classes.index("odd")
    assert [len(split.train) for split in dataset.splits()] == [6, 6, 6]
    assert dataset.record.metric == "mean class recall"


def test_given_splits_are_kept(table):
    parts = ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    rows = [f"p{k:02d}.png,{'odd' if k % 2 else 'even'},{part}" for k, part in enumerate(parts)]
    (split,) = opened(table("path,label,split\n" + "\n".join(rows))).splits()
    assert (len(split.fit), len(split.validation), len(split.test)) == (6, 2, 4)
    assert split.test == ("p08.png", "p09.png", "p10.png", "p11.png")


def test_several_labels_select_average_precision(table):
    rows = [f"p{k:02d}.png,{['cat|dog', 'dog', ''][k % 3]}" for k in range(12)]
    dataset = opened(table("path,labels\n" + "\n".join(rows)))
    assert dataset.record.metric == "mean average precision"
    assert dataset.labels.classes == ("cat", "dog")
    assert [dataset.labels.by_id[f"p{k:02d}.png"] for k in range(3)] == [(1, 1), (-1, 1), (-1, -1)]
    (split,) = dataset.splits()
    assert len(split.test) == round(0.4 * 12)


def test_a_rare_label_is_fitted_on_chooses_C_and_is_tested(table):
    """Of three images with it, ranked 1, 2 and 3 of twelve: by rank alone all would be tested."""
    order = sorted((f"p{k:02d}.png" for k in range(12)), key=lambda i: hashlib.sha256(f"1/0/{i}".encode()).digest())
    rows = [f"{i},{'common|rare' if i in order[:3] else 'common'}" for i in order[:11]] + [f"{order[11]},"]
    dataset = opened(table("path,labels\n" + "\n".join(rows)))
    (split,) = dataset.splits()
    rare = dataset.labels.classes.index("rare")
    assert all((dataset.labels.of(ids)[:, rare] == 1).sum() == 1 for ids in (split.fit, split.validation, split.test))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the first line must be path,label"),
        ("file,class\na,b\n", "the first line must be path,label"),
        ("path,label\n", "has no rows"),
        ("path,label\np00.png,a\np00.png,b\n", "line 3: p00.png is listed twice"),
        ("path,label\np00.png,a\n./p00.png,b\n", "line 3: ./p00.png is listed twice"),
        ("path,label\nx/../p00.png,a\np00.png,b\n", "line 3: p00.png is listed twice"),
        ("path,label\n,a\n", "line 2: there is no path"),
        ("path,label\np00.png\n", "line 2: 1 cells instead of 2"),
        ("path,label\np00.png,\n", "line 2: p00.png has no label"),
        ("path,label,split\np00.png,a,dev\n", "split must be one of train, val, test, got 'dev'"),
        ("path,label,split\np00.png,a,train\n", "needs rows of train, and rows of test or val"),
        ("path,label\np00.png,a\np01.png,b\n", "class 'a' has 1 image"),
    ],
)
def test_a_bad_table_is_explained(table, text, told):
    with pytest.raises(DatasetError) as raised:
        opened(table(text))
    assert told in str(raised.value)


def test_missing_and_unreadable_images_are_named(table, call, tmp_path):
    rows = [f"p{k:02d}.png,{'odd' if k % 2 else 'even'}" for k in range(12)]
    path = table("path,label\n" + "\n".join([*rows, "gone.png,odd", "notes.txt,odd"]))
    (tmp_path / "notes.txt").write_text("no picture")
    result = call("datasets", "check", f"csv:{path}")
    assert result.code == 1
    assert "1 image, gone.png" in result.out
    assert "1 file, notes.txt, no JPEG or PNG by name" in result.out
    assert f"Error: csv:{path}: 3 problem(s) in {path}; it cannot be used like this" in result.err
    with pytest.raises(DatasetError) as told:
        opened(path)
    first, *_, last = str(told.value).splitlines()
    assert first == f"csv:{path}: 2 problem(s) with the data"
    assert last == f"  All of it, and what to do: tb datasets check csv:{path}"


def test_a_table_that_is_not_text_is_refused(tmp_path, photo):
    path = tmp_path / "own.csv"
    path.write_bytes(photo(1))
    with pytest.raises(DatasetError, match="cannot be read as a CSV file"):
        opened(path)


def test_a_folder_and_a_missing_file_are_no_tables(tmp_path):
    with pytest.raises(DatasetError, match=r"is a folder, no table; write csv:FILE for a table"):
        open_dataset(f"csv:{tmp_path}", Place(folder=tmp_path))
    with pytest.raises(DatasetError, match=r"cannot be read: No such file or directory; write csv:FILE"):
        open_dataset(f"csv:{tmp_path / 'none.csv'}", Place(folder=tmp_path))
