import os
import signal
import subprocess
import sys

import pytest

from transferbench.errors import HeldError, StorageError
from transferbench.locks import holder_of, writer_lock

HOLD = """
import sys, time
from pathlib import Path
from transferbench.locks import writer_lock
with writer_lock(Path(sys.argv[1]), "the block"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with (
                pytest.raises(HeldError, match=f"the block is being written by process {holder.pid} on "),
                writer_lock(tmp_path, "the block"),
            ):
                pass
        finally:
            holder.send_signal(signal.SIGKILL)


def test_the_lock_of_a_killed_writer_is_free(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
    assert holder_of(tmp_path) == ""
    with writer_lock(tmp_path, "the block"):
        assert (tmp_path / ".lock-holder").read_text().startswith(f"process {os.getpid()} ")
        assert holder_of(tmp_path).startswith(f"process {os.getpid()} on ")
    assert not (tmp_path / ".lock-holder").exists()


def test_a_folder_that_cannot_be_made_is_told_of(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write[\s\S]*Where: .*/file\n"), writer_lock(tmp_path / "file", "x"):
        pass
