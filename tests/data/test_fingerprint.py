"""The identity of image files: their contents, read once, remembered, and told of while they are read."""

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from transferbench.data.fingerprint import fingerprint
from transferbench.data.place import Place
from transferbench.errors import DatasetError
from transferbench.types.identity import sha256_of


class Told:
    """A progress that notes what it is told."""

    def __init__(self):
        self.tasks = []

    @contextmanager
    def task(self, description, total, *, done=0):
        self.tasks.append([description, total, done])
        yield self

    def advance(self, n=1, note=""):
        self.tasks[-1][2] += n


@pytest.fixture
def files(tmp_path):
    for k in range(3):
        (tmp_path / f"{k}.jpg").write_bytes(b"content %d" % k)
    return [str(tmp_path / f"{k}.jpg") for k in (0, 1, 2, 2)]


IDS = ("a", "b", "c", "d")


def identify(files, tmp_path, memory="memory"):
    told = Told()
    place = Place(folder=tmp_path, memory=tmp_path / memory if memory else None, progress=told)
    return fingerprint(IDS, files, place), told.tasks


def test_it_is_the_hash_of_ids_and_contents_alone(files, tmp_path):
    contents = [hashlib.sha256(b"content %d" % k).hexdigest() for k in (0, 1, 2, 2)]
    expected = sha256_of([list(pair) for pair in zip(IDS, contents, strict=True)])
    assert identify(files, tmp_path)[0] == identify(files, tmp_path, memory=None)[0] == expected


def test_files_are_read_once_and_with_a_bar(files, tmp_path):
    assert identify(files, tmp_path)[1] == [["hashing 3 image files for the first time", 3, 3]]
    assert identify(files, tmp_path)[1] == []
    os.utime(files[1], ns=(0, 1))
    assert identify(files, tmp_path)[1] == [["hashing 1 image files for the first time", 1, 1]]


@pytest.mark.parametrize("content", [b"content 9", b"another size"])
def test_a_changed_file_is_another_identity(files, tmp_path, content):
    before, _ = identify(files, tmp_path)
    state = Path(files[0]).stat()
    Path(files[0]).write_bytes(content)
    os.utime(files[0], ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert identify(files, tmp_path)[0] != before


def test_a_damaged_memory_costs_time_and_nothing_else(files, tmp_path):
    before, _ = identify(files, tmp_path)
    (memory,) = (tmp_path / "memory").iterdir()
    memory.write_text('{"format": ')
    after, tasks = identify(files, tmp_path)
    assert after == before
    assert tasks[0][1] == 3


def test_a_file_that_is_not_there_is_named(files, tmp_path):
    Path(files[1]).unlink()
    with pytest.raises(DatasetError, match=r"1\.jpg: cannot be read: No such file"):
        identify(files, tmp_path)
