import os
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from transferbench.errors import StorageError
from transferbench.files import publish, publishing, sha256_file, sweep


def test_a_file_appears_whole_in_a_new_folder(tmp_path):
    publish(tmp_path / "a" / "b.txt", b"hello")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"hello"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_file_is_replaced(tmp_path):
    publish(tmp_path / "b", b"old")
    publish(tmp_path / "b", b"new")
    assert (tmp_path / "b").read_bytes() == b"new"


def test_the_hash_is_that_of_sha256sum(tmp_path):
    publish(tmp_path / "b", b"hello")
    stated = subprocess.run(["sha256sum", tmp_path / "b"], capture_output=True, text=True, check=True).stdout.split()[0]
    assert sha256_file(tmp_path / "b") == stated


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_when_writing_fails_the_old_file_stays_and_nothing_is_left(tmp_path, monkeypatch, step):
    publish(tmp_path / "b", b"old")

    def fail(*_args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync" if step == "fsync" else "pathlib.Path.replace", fail)
    with pytest.raises(StorageError, match=r"Input/output error[\s\S]*Where: .*/b\n"):
        publish(tmp_path / "b", b"new")
    assert (tmp_path / "b").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_bytes_may_come_in_any_order_and_from_a_thread(tmp_path):
    with publishing(tmp_path / "b") as file:
        file.put_meanwhile(2, b"cdef" * 1000)
        file.put(4002, b"gh")
        file.put(0, b"ab")
        assert not (tmp_path / "b").exists()
    assert (tmp_path / "b").read_bytes() == b"ab" + b"cdef" * 1000 + b"gh"


def test_a_system_that_takes_few_bytes_at_a_time_is_asked_again(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr("os.pwrite", lambda handle, data, at: real(handle, data[:3], at))
    publish(tmp_path / "b", b"hello world")
    assert (tmp_path / "b").read_bytes() == b"hello world"


def test_what_goes_wrong_in_the_thread_is_said_and_nothing_is_left(tmp_path, monkeypatch):
    real = os.pwrite

    def fail(handle, data, at):
        if at:
            raise OSError(28, "No space left on device")
        return real(handle, data, at)

    monkeypatch.setattr("os.pwrite", fail)
    publish(tmp_path / "b", b"old")

    def write():
        with publishing(tmp_path / "b") as file:
            file.put_meanwhile(7, bytes(1000))
            file.put(0, b"1234567")

    with pytest.raises(StorageError, match=r"no room to write 1,007 bytes"):
        write()
    assert (tmp_path / "b").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_the_thread_has_ended_before_the_file_is_closed(tmp_path, monkeypatch):
    """Else it would write into whatever file is opened next."""
    real, ended = os.pwrite, []

    def slow(handle, data, at):
        time.sleep(0.2)
        ended.append(os.fstat(handle).st_ino)
        return real(handle, data, at)

    monkeypatch.setattr("os.pwrite", slow)

    def write():
        with publishing(tmp_path / "b") as file:
            file.put_meanwhile(0, b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert len(ended) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(_handle):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "b", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_error(tmp_path):
    # A limit on file size makes the kernel refuse the bytes, as a full disk does.
    code = """
        import resource, signal, sys
        from pathlib import Path
        from transferbench.errors import StorageError
        from transferbench.files import publish
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            publish(Path(sys.argv[1]) / "b", bytes(5000))
        except StorageError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path], capture_output=True, text=True, check=True
    )
    assert "no room to write 5,000 bytes" in done.stdout
    assert "TB_HOME" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        publish(tmp_path / "file" / "b", b"new")


def test_sweep_removes_what_dead_processes_left_and_nothing_else(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = socket.gethostname()
    stale = tmp_path / f".b.tmp-{host}-{gone.pid}-0123abcd"
    kept = [
        tmp_path / f".b.tmp-{host}-{os.getpid()}-0123abcd",
        tmp_path / ".b.tmp-otherhost-1-0123abcd",
        tmp_path / "b",
    ]
    for path in (stale, *kept):
        path.write_text("")
    assert sweep(tmp_path) == 1
    assert sorted(tmp_path.iterdir()) == sorted(kept)
