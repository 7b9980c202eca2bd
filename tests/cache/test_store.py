import pytest

from transferbench.cache.store import find_block, remove, spec_of, stored_blocks
from transferbench.cache.verification import load, verify
from transferbench.errors import CacheError, UnknownNameError


def test_a_complete_block_is_listed(block, stored, tmp_path):
    assert stored.name == block.folder.relative_to(tmp_path).as_posix()
    assert (stored.state, stored.rows, stored.dimensions) == ("complete", 600, 5)
    assert stored.n_bytes == sum(path.stat().st_size for path in block.folder.iterdir() if path.is_file())
    assert stored.spec == block.spec
    assert verify(stored) == []


def test_an_unfinished_block_is_listed_and_is_no_damage(empty, rows, tmp_path):
    empty.write(1, rows[256:512])
    (found,) = stored_blocks(tmp_path)
    assert (found.state, found.spec) == ("unfinished", empty.spec)
    assert verify(found) == []
    with pytest.raises(CacheError, match="is not finished"):
        load(found)


def test_a_block_with_a_missing_shard_or_a_broken_manifest_is_damaged(block, stored, tmp_path):
    (block.folder / "rows-00001.h5").unlink()
    assert stored_blocks(tmp_path)[0].state == "damaged"
    assert "rows-00001.h5: cannot be read" in verify(stored)[0]
    (block.folder / "manifest.json").write_text("{}")
    (found,) = stored_blocks(tmp_path)
    assert (found.state, found.spec) == ("damaged", None)
    with pytest.raises(CacheError, match="nothing readable"):
        spec_of(found)


def test_blocks_are_found_by_folder_name_and_key(block, stored, tmp_path):
    for name in (str(block.folder), stored.name, block.spec.key()[:6]):
        assert find_block(tmp_path, name) == stored
    with pytest.raises(UnknownNameError, match="Did you mean"):
        find_block(tmp_path, stored.name[:-1])
    with pytest.raises(UnknownNameError, match="unknown block"):
        find_block(tmp_path, block.spec.key()[:3])


def test_a_name_that_means_two_blocks_is_refused(block, tmp_path):
    other = block.folder.with_name(block.folder.name.replace("q0256", "q0384"))
    other.mkdir()
    (other / "rows-00000.h5").write_bytes(b"")
    with pytest.raises(UnknownNameError, match="means 2 blocks"):
        find_block(tmp_path, block.spec.key()[:6])


def test_removing_leaves_nothing(block, stored, tmp_path):
    remove(stored)
    assert stored_blocks(tmp_path) == []
    assert not block.folder.exists()
