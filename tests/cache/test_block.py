import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest

from transferbench.cache.block import MANIFEST, Block
from transferbench.errors import CacheError, FeatureError


def test_what_was_written_is_read(block, rows):
    found = block.read()
    assert found.ids == block.ids
    assert np.array_equal(found.array, rows)
    assert found.spec == block.spec
    assert block.is_complete()
    assert block.missing_shards() == []


def test_rows_belong_to_shards_by_a_fixed_rule(block):
    assert block.n_shards == 3
    assert [len(block.rows(i)) for i in range(3)] == [256, 256, 88]
    assert sorted(path.name for path in block.folder.glob("*.h5")) == [
        "rows-00000.h5",
        "rows-00001.h5",
        "rows-00002.h5",
    ]


def test_the_folder_tells_a_person_what_it_holds(block, tmp_path):
    assert block.folder.relative_to(tmp_path).as_posix() == f"demo/D-bbbbbbbb/q0256-image-flip-{block.spec.key()[:16]}"


def test_another_spec_is_another_block(block, tmp_path):
    other = Block.of(tmp_path, replace(block.spec, flip=False), block.ids)
    assert not other.is_complete()
    assert other.missing_shards() == [0, 1, 2]


def test_an_unfinished_block_is_not_read_but_gone_on_with(empty, rows):
    empty.write(1, rows[256:512])
    assert not empty.is_complete()
    assert empty.missing_shards() == [0, 2]
    with pytest.raises(CacheError, match="is not complete"):
        empty.read()
    with pytest.raises(CacheError, match="rows-00000.h5: cannot be read"):
        empty.finish({})


def test_a_damaged_shard_of_an_unfinished_block_is_computed_again(empty, rows):
    empty.write(0, rows[:256])
    path = empty.folder / "rows-00000.h5"
    path.write_bytes(path.read_bytes()[:-500])
    assert empty.missing_shards() == [0, 1, 2]
    assert not path.exists()


def test_a_flipped_bit_in_the_rows_of_an_unfinished_block_is_found(empty, rows):
    """HDF5 is content with such a file, and no manifest vouches for it: its own hash of the rows must be asked."""
    empty.write(0, rows[:256])
    path = empty.folder / "rows-00000.h5"
    data = bytearray(path.read_bytes())
    data[data.index(rows[100].tobytes())] ^= 1
    path.write_bytes(data)
    assert empty.missing_shards() == [0, 1, 2]
    assert not path.exists()


@pytest.mark.parametrize("seed", range(30))
def test_any_flipped_bit_of_a_complete_block_is_found_and_the_file_named(block, seed):
    random = np.random.default_rng(seed)
    paths = sorted(path for path in block.folder.iterdir() if not path.name.startswith("."))
    path = paths[seed % len(paths)]
    data = bytearray(path.read_bytes())
    bit = int(random.integers(len(data) * 8))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    with pytest.raises(CacheError, match=path.name):
        block.read()


def test_a_damaged_shard_can_be_deleted_and_computed_again(block, rows):
    path = block.folder / "rows-00001.h5"
    path.write_bytes(b"x")
    with pytest.raises(CacheError, match=r"rows-00001.h5: is damaged[\s\S]*Delete that file and run `tb extract`"):
        block.read()
    path.unlink()
    assert not block.is_complete()
    assert block.missing_shards() == [1]
    block.write(1, rows[256:512])
    block.finish({})
    assert np.array_equal(block.read().array, rows)


def test_shards_of_another_block_are_refused(block, tmp_path, rows):
    other = Block.of(tmp_path, replace(block.spec, short_side_px=384), block.ids)
    for index in range(3):
        other.write(index, rows[256 * index : 256 * (index + 1)] * 2)
    other.finish({})
    shutil.copy(other.folder / "rows-00001.h5", block.folder / "rows-00001.h5")
    with pytest.raises(CacheError, match="rows-00001.h5"):
        block.read()
    shutil.copy(other.folder / MANIFEST, block.folder / MANIFEST)
    with pytest.raises(CacheError, match="belongs to other descriptors"):
        block.read()


def test_other_ids_are_refused(block, tmp_path):
    other = Block.of(tmp_path, block.spec, (*block.ids[:-1], "zzz"))
    with pytest.raises(CacheError, match="belongs to other descriptors"):
        other.read()


def test_a_newer_format_is_refused_with_both_versions(block):
    from transferbench.types.identity import sha256_of

    path = block.folder / MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    manifest["version"] = "2"
    path.write_text(json.dumps({**manifest, "sha256": sha256_of(manifest)}))
    with pytest.raises(CacheError, match="format version 2; this program reads version 1"):
        block.is_complete()


def test_the_manifest_says_what_made_the_rows(block):
    manifest = json.loads((block.folder / MANIFEST).read_text())
    assert manifest["spec"] == block.spec.to_dict()
    assert manifest["environment"] == block.environment() == {"torch": "1"}
    assert (manifest["rows"], manifest["dimensions"]) == (600, 5)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "not finite"), (0.0, "is zero")])
def test_rows_that_no_svm_should_see_are_not_stored(empty, rows, value, word):
    rows[3] = value
    with pytest.raises(FeatureError, match=rf"(?s)'image-0003' by net D at 256 px .*{word}"):
        empty.write(0, rows[:256])
    assert not list(empty.folder.glob("*.h5"))


def test_only_one_process_claims_a_shard(empty, rows):
    with empty.claim(0) as mine:
        assert mine
        code = (
            "import pickle, sys; block = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
            "with block.claim(0) as first, block.claim(1) as second: print(first, second)\n"
            "block.refuse_claim(0)"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, pickle.dumps(empty).hex()], check=False, capture_output=True, text=True
        )
    assert other.stdout == "False True\n"
    assert f"shard 0 of the block {empty.folder.name} is being written by process {os.getpid()} on " in other.stderr
    empty.write(0, rows[:256])
    with empty.claim(0) as mine:
        assert not mine


def test_finishing_reads_again_what_was_changed_since_it_was_written(empty, rows):
    for index in range(3):
        empty.write(index, rows[index * 256 : (index + 1) * 256])
    path = empty.folder / "rows-00001.h5"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CacheError, match=path.name):
        empty.finish({})


def test_the_manifest_is_the_same_whether_the_shards_are_read_again_or_not(empty, rows):
    for index in range(3):
        empty.write(index, rows[index * 256 : (index + 1) * 256])
    afresh = Block(empty.folder, empty.spec, empty.ids)
    afresh.finish({})
    read_again = (empty.folder / MANIFEST).read_bytes()
    (empty.folder / MANIFEST).unlink()
    empty.finish({})
    assert (empty.folder / MANIFEST).read_bytes() == read_again


def test_finishing_twice_changes_nothing(block):
    before = (block.folder / MANIFEST).read_bytes()
    block.finish({"torch": "2"})
    assert (block.folder / MANIFEST).read_bytes() == before


def test_hdf5_never_writes_to_the_disk_itself(empty, rows, monkeypatch):
    """On a full disk HDF5 takes the interpreter down with it; plain Python raises an error."""
    real = h5py.File

    def only_memory(name, *args, **kwargs):
        assert not isinstance(name, (str, bytes)), "HDF5 opened a path"
        assert hasattr(name, "read")
        return real(name, *args, **kwargs)

    monkeypatch.setattr("transferbench.cache.shard.h5py.File", only_memory)
    for index in range(3):
        empty.write(index, rows[256 * index : 256 * (index + 1)])
    empty.finish({})
    empty.read()
