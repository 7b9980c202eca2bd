"""What a power failure can take: nothing that a name vouches for.

After a rename without fsync a file may come back empty, and a name itself is safe only when its folder was synchronised.
The order of these calls is what is tested; no test can pull the plug.
"""

import os
from pathlib import Path

import pytest

from tests.faults.writer import block_in, fill, rows_of
from transferbench.cache.block import Block
from transferbench.cache.manifest import MANIFEST


class Disk:
    """Knows what of the written is safe, from the calls that were made."""

    def __init__(self, monkeypatch):
        self.safe, self.names, self.calls = set(), {}, []
        real = {"pwrite": os.pwrite, "fsync": os.fsync, "replace": Path.replace}

        def pwrite(handle, data, at):
            self.safe.discard(os.fstat(handle).st_ino)
            return real["pwrite"](handle, data, at)

        def fsync(handle):
            real["fsync"](handle)
            inode = os.fstat(handle).st_ino
            self.safe.add(inode)
            for name, (folder, _safe) in self.names.items():
                if folder == inode:
                    self.names[name] = (folder, True)

        def replace(source, target):
            assert source.stat().st_ino in self.safe, f"{target.name} gets its name before its content is safe"
            if target.name == MANIFEST:
                assert self.unsafe_names() == [], "the manifest vouches for names that are not safe"
            renamed = real["replace"](source, target)
            self.names[target.name] = (target.parent.stat().st_ino, False)
            self.calls.append(target.name)
            return renamed

        monkeypatch.setattr("os.pwrite", pwrite)
        monkeypatch.setattr("os.fsync", fsync)
        monkeypatch.setattr("pathlib.Path.replace", replace)

    def unsafe_names(self):
        return [name for name, (_folder, safe) in self.names.items() if not safe]


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def test_the_manifest_comes_last_and_only_when_all_it_lists_is_safe(tmp_path, disk):
    fill(tmp_path)
    assert disk.calls == [*(f"rows-{index:05d}.h5" for index in range(5)), MANIFEST]
    assert disk.unsafe_names() == []


def test_shards_that_others_left_are_safe_before_the_manifest(tmp_path, disk):
    """Whoever wrote them may have died before the folder was synchronised."""
    block = block_in(tmp_path)
    for index in range(block.n_shards):
        block.write(index, rows_of(block, index))
    assert disk.unsafe_names() == [f"rows-{index:05d}.h5" for index in range(5)]
    Block.of(tmp_path, block.spec, block.ids).finish({})
    assert disk.unsafe_names() == []


def test_a_file_appears_by_its_rename_alone(tmp_path, monkeypatch):
    """Never by being written under its final name."""
    block, seen = block_in(tmp_path), []
    real = os.pwrite

    def pwrite(handle, data, at):
        seen.append(block.shard_path(0).exists())
        return real(handle, data, at)

    monkeypatch.setattr("os.pwrite", pwrite)
    block.write(0, rows_of(block, 0))
    assert seen == [False] * 3
    assert block.shard_path(0).exists()
