import io
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from transferbench.cache.block import Block
from transferbench.cache.store import (
    differences,
    export,
    find_block,
    import_file,
    load,
    remove,
    spec_of,
    stored_blocks,
    verify,
)
from transferbench.errors import CacheError, FeatureError, UnknownNameError


@pytest.fixture
def stored(block, tmp_path):
    (found,) = stored_blocks(tmp_path)
    return found


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


@pytest.mark.parametrize("seed", range(60))
def test_verify_finds_any_flipped_bit_and_names_the_file(block, stored, seed):
    random = np.random.default_rng(1000 + seed)
    paths = sorted(path for path in block.folder.iterdir() if path.is_file() and not path.name.startswith("."))
    path = paths[seed % len(paths)]
    data = bytearray(path.read_bytes())
    bit = int(random.integers(len(data) * 8))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    problems = verify(stored)
    assert len(problems) == 1
    assert path.name in problems[0]


def test_a_stray_shard_and_a_renamed_folder_are_found(block, stored, tmp_path):
    (block.folder / "rows-00009.h5").write_bytes(b"")
    assert verify(stored) == [f"{block.folder / 'rows-00009.h5'}: is not in the manifest; delete it"]
    (block.folder / "rows-00009.h5").unlink()
    block.folder.rename(block.folder.with_name("q0384-image-flip-0123456789abcdef"))
    assert "name does not fit the spec" in verify(stored_blocks(tmp_path)[0])[0]


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


def test_differences_name_every_field(spec):
    other = replace(spec, flip=False, net=replace(spec.net, pool_rounding="floor"))
    assert differences(spec, other) == [("net.pool_rounding", '"ceil"', '"floor"'), ("flip", "true", "false")]
    assert differences(spec, spec) == []


def test_removing_leaves_nothing(block, stored, tmp_path):
    remove(stored)
    assert stored_blocks(tmp_path) == []
    assert not block.folder.exists()


def test_an_exported_file_is_plain_hdf5(block, stored, rows, tmp_path):
    export(stored, tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["ids"].asstr()[()].tolist() == list(block.ids)
        assert np.array_equal(file["descriptors"][()], rows)
        assert json.loads(file.attrs["spec"]) == block.spec.to_dict()


def test_an_exported_file_comes_back_as_the_same_block(block, stored, tmp_path):
    export(stored, tmp_path / "x.h5")
    back = import_file(tmp_path / "x.h5", tmp_path / "other")
    assert back.folder.relative_to(tmp_path / "other") == block.folder.relative_to(tmp_path)
    assert {p.name: p.read_bytes() for p in back.folder.glob("*.h5")} == {
        p.name: p.read_bytes() for p in block.folder.glob("*.h5")
    }
    assert back.environment() == {"torch": "1", "imported_from": "x.h5"}
    assert import_file(tmp_path / "x.h5", tmp_path / "other") == back


def test_a_damaged_block_is_not_exported(block, stored, tmp_path):
    (block.folder / "rows-00000.h5").write_bytes(b"x")
    with pytest.raises(CacheError, match="rows-00000.h5: is damaged"):
        export(stored, tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()


def edited(path, change):
    buffer = io.BytesIO(path.read_bytes())
    with h5py.File(buffer, "r+") as file:
        change(file)
    path.write_bytes(buffer.getvalue())


def external(file):
    del file["descriptors"]
    file["descriptors"] = h5py.ExternalLink("/etc/other.h5", "/x")


def huge(file):
    del file["descriptors"]
    file.create_dataset("descriptors", (600, 1 << 40), "<f4", chunks=(1, 1 << 10))


def unsorted(file):
    file["ids"][0] = b"zzzz"


def other_kind(file):
    file.attrs["encoding-type"] = "something"


def bad_spec(file):
    file.attrs["spec"] = '{"dataset": 1}'


@pytest.mark.parametrize("change", [external, huge, unsorted, other_kind, bad_spec])
def test_a_file_that_is_not_ours_is_refused_and_leaves_nothing(stored, tmp_path, change):
    path = tmp_path / "x.h5"
    export(stored, path)
    edited(path, change)
    with pytest.raises(CacheError, match=r"x\.h5: "):
        import_file(path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_rows_that_no_svm_should_see_are_not_imported(stored, tmp_path):
    path = tmp_path / "x.h5"
    export(stored, path)
    edited(path, lambda file: file["descriptors"].__setitem__(7, 0))
    with pytest.raises(FeatureError, match="'image-0007' by the file"):
        import_file(path, tmp_path / "other")


@pytest.mark.parametrize("content", [b"", b"hello", None])
def test_what_is_no_file_of_descriptors_is_refused(tmp_path, content):
    path = tmp_path / "x.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CacheError, match=r"x\.h5: "):
        import_file(path, tmp_path / "other")


def test_a_shard_is_no_exported_file(block, tmp_path):
    with pytest.raises(CacheError, match=r"is transferbench.descriptors version 1; `tb cache import` takes"):
        import_file(block.folder / "rows-00000.h5", tmp_path / "other")


def test_an_imported_block_is_what_the_loader_gives(block, stored):
    found = load(stored)
    assert found.ids == block.ids
    assert np.array_equal(found.array, Block.read(block).array)
