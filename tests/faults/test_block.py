"""What a crash, a full disk, a flipped bit or a crowd of writers can do to a block: nothing that stays unseen.

`make test-faults` runs the long versions; `make test` shorter ones of the same tests.
"""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.faults.writer import POINTS, block_in, fill, rows_of
from transferbench.cache.store import stored_blocks
from transferbench.cache.verification import verify
from transferbench.errors import CacheError

LONG = os.environ.get("TB_FAULTS") == "long"
KILLS, FLIPS, FULL_DISKS, WRITERS, ROUNDS = (170, 1000, 20, 16, 20) if LONG else (12, 150, 6, 6, 2)
WRITER = Path(__file__).with_name("writer.py")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The files of a block that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    fill(folder)
    return contents(folder)


def contents(folder):
    return {
        path.name: path.read_bytes()
        for path in block_in(folder).folder.iterdir()
        if path.is_file() and not path.name.startswith(".")
    }


def start(folder, *args):
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(folder), *map(str, args)], stdout=subprocess.PIPE, text=True
    )


def assert_only_whole_files(folder, expected):
    """Whatever carries a final name is exactly what an undisturbed writer publishes."""
    if block_in(folder).folder.exists():
        for name, data in contents(folder).items():
            assert data == expected[name], name


def resume(folder, expected):
    before = contents(folder) if block_in(folder).folder.exists() else {}
    fill(folder)
    assert contents(folder) == expected
    assert not list(folder.rglob("*.tmp-*"))
    return len(expected) - len(before)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_kill_at_a_random_moment_leaves_only_whole_files(tmp_path, expected, seed):
    with start(tmp_path) as process:
        assert process.stdout.readline() == "started\n"
        time.sleep(random.Random(seed).uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
    assert_only_whole_files(tmp_path, expected)
    resume(tmp_path, expected)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("number", range(1, 6) if LONG else [1, 3])
def test_a_kill_at_a_named_moment_costs_at_most_one_shard(tmp_path, expected, point, number):
    calls = {"before manifest": 1, "after manifest": 1}.get(point, number)
    with start(tmp_path, point, calls) as process:
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert_only_whole_files(tmp_path, expected)
    # fsync and rename are called once for every shard: how many were published by then.
    published = {
        "after write": calls - 1,
        "after fsync": calls - 1,
        "before rename": calls - 1,
        "after rename": calls,
    }.get(point, 5)
    redone = resume(tmp_path, expected)
    assert redone == 6 - published - (point == "after manifest")


def test_every_flipped_bit_is_found(tmp_path, expected):
    fill(tmp_path)
    (stored,) = stored_blocks(tmp_path)
    choice = random.Random(0)
    names = sorted(expected)
    for _ in range(FLIPS):
        path = stored.folder / choice.choice(names)
        data = bytearray(expected[path.name])
        bit = choice.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        problems = verify(stored)
        assert problems, f"bit {bit} of {path.name}"
        assert path.name in problems[0]
        with pytest.raises(CacheError):
            block_in(tmp_path).read()
        path.write_bytes(expected[path.name])
    assert verify(stored) == []


@pytest.mark.parametrize("seed", range(FULL_DISKS))
def test_a_full_disk_is_one_error_and_older_files_stay(tmp_path, expected, seed):
    block = block_in(tmp_path)
    block.write(0, rows_of(block, 0))
    limit = random.Random(seed).randrange(100, len(expected["rows-00001.h5"]))
    # A limit on file size makes the kernel refuse the bytes, as a full disk does.
    code = """
        import resource, signal, sys
        from pathlib import Path
        from transferbench.errors import StorageError
        sys.path.insert(0, sys.argv[3])
        import writer
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
        try:
            writer.fill(Path(sys.argv[1]))
        except StorageError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path), str(limit), str(WRITER.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no room to write" in done.stdout
    assert contents(tmp_path) == {"rows-00000.h5": expected["rows-00000.h5"]}
    resume(tmp_path, expected)


def test_a_crowd_of_writers_leaves_one_whole_block(tmp_path, expected):
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        writers = [start(folder) for _ in range(WRITERS)]
        if number % 2:
            writers[0].send_signal(signal.SIGKILL)
        for writer in writers:
            writer.communicate(timeout=120)
        assert [writer.returncode for writer in writers[1:]] == [0] * (WRITERS - 1)
        assert contents(folder) == expected
