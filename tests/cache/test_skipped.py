"""Images that could not be decoded: they have no row, and shard, manifest, copy and listing all say so."""

import json

import h5py
import numpy as np
import pytest

from tests.cache.conftest import IDS
from transferbench.cache.block import Block
from transferbench.cache.differences import block_differences
from transferbench.cache.manifest import MANIFEST
from transferbench.cache.portable import export, import_file
from transferbench.cache.shard import decode, encode
from transferbench.cache.store import stored_blocks
from transferbench.cache.verification import load, verify
from transferbench.errors import CacheError, DatasetError
from transferbench.types.identity import sha256_of

SKIPPED = {"image-0000": "is empty (zero bytes)", "image-0300": "is damaged: é", "image-0599": "is damaged: x"}
LAST = dict.fromkeys(IDS[512:], "is damaged")


def fill(block, rows, skipped):
    for index in range(block.n_shards):
        ids = block.rows(index)
        kept = [number for number, i in enumerate(IDS) if i in ids and i not in skipped]
        block.write(index, rows[kept], {i: skipped[i] for i in ids if i in skipped})
    block.finish({})
    return block


@pytest.fixture
def lacking(empty, rows):
    return fill(empty, rows, SKIPPED)


def stored(folder):
    (found,) = stored_blocks(folder)
    return found


def test_a_skipped_image_has_no_row_and_the_others_keep_theirs(lacking, rows):
    found = lacking.read()
    kept = [number for number, i in enumerate(IDS) if i not in SKIPPED]
    assert found.ids == tuple(IDS[number] for number in kept)
    assert np.array_equal(found.array, rows[kept])
    assert lacking.is_complete()
    assert lacking.skipped() == lacking.skipped_so_far() == SKIPPED
    assert [len(shard.ids) for shard in lacking.shards()] == [255, 255, 87]


def test_the_manifest_lists_what_was_skipped_and_its_hash_covers_it(lacking):
    path = lacking.folder / MANIFEST
    manifest = json.loads(path.read_text())
    assert (manifest["skipped"], manifest["rows"]) == (SKIPPED, 597)
    assert manifest["ids_sha256"] == sha256_of(IDS)
    del manifest["skipped"]["image-0300"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(CacheError, match="has changed since it was written"):
        lacking.skipped()


def test_a_manifest_that_hides_a_skipped_image_is_found(lacking, tmp_path):
    path = lacking.folder / MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["skipped"]["image-0300"], manifest["sha256"]
    path.write_text(json.dumps({**manifest, "sha256": sha256_of(manifest)}))
    assert verify(stored(tmp_path)) == [f"{lacking.folder}: the images it skips are not those of the manifest"]


def test_a_block_without_skipped_images_says_nothing_of_them(block):
    assert "skipped" not in json.loads((block.folder / MANIFEST).read_text())
    with h5py.File(block.folder / "rows-00000.h5") as file:
        assert "skipped" not in file.attrs
    assert block.skipped() == {}


def test_an_unfinished_block_tells_what_it_has_skipped(empty, rows):
    assert empty.skipped_so_far() == {}
    empty.write(1, rows[257:512], {"image-0256": "is damaged"})
    assert empty.skipped_so_far() == {"image-0256": "is damaged"}
    assert empty.missing_shards() == [0, 2]


def test_the_attribute_is_covered_by_the_hash_of_the_rows(lacking, spec):
    path = lacking.folder / "rows-00001.h5"
    with h5py.File(path, "r+") as file:
        file.attrs["skipped"] = json.dumps({"image-0300": "another reason"})
    with pytest.raises(CacheError, match="its rows have changed"):
        decode(path.read_bytes(), spec, 1, "x")


@pytest.mark.parametrize("value", ["[1]", '{"image-0300": 1}', "{", 3, '{"image-0301": "has a row"}'])
def test_a_list_that_cannot_be_right_is_refused(lacking, spec, value):
    path = lacking.folder / "rows-00001.h5"
    with h5py.File(path, "r+") as file:
        file.attrs["skipped"] = value
    with pytest.raises(CacheError, match="x: "):
        decode(path.read_bytes(), spec, 1, "x")


def test_a_row_too_few_is_no_skipped_image(empty, rows, spec):
    """A shard that lacks an id without saying why belongs to other images."""
    empty.write(0, rows[1:256], {"image-0000": "is damaged"})
    path = empty.folder / "rows-00000.h5"
    shard = decode(path.read_bytes(), spec, 0, "x")
    path.write_bytes(b"".join(encode(type(shard)(0, shard.ids, shard.array), spec).pieces))
    assert empty.missing_shards() == [0, 1, 2]
    assert not path.exists()


def test_only_images_of_the_shard_can_be_skipped(empty, rows):
    with pytest.raises(ValueError, match="'image-0300' is no image of shard 0"):
        empty.write(0, rows[:255], {"image-0300": "is damaged"})


def test_a_whole_shard_may_be_skipped_but_not_a_whole_block(empty, rows, tmp_path):
    fill(empty, rows, LAST)
    assert np.array_equal(empty.read().array, rows[:512])
    assert [len(shard.ids) for shard in empty.shards()] == [256, 256, 0]
    assert verify(stored(tmp_path)) == []
    nothing = Block.of(tmp_path / "nothing", empty.spec, IDS)
    with pytest.raises(DatasetError, match="none of the 600 images could be decoded"):
        fill(nothing, rows, dict.fromkeys(IDS, "is damaged"))
    assert not nothing.is_complete()


def test_listing_checking_and_loading_know_of_it(lacking, tmp_path):
    found = stored(tmp_path)
    assert (found.state, found.rows, found.skipped) == ("complete", 597, 3)
    assert verify(found) == []
    assert load(found).ids == lacking.read().ids


def test_blocks_that_skip_other_images_differ(lacking, rows, tmp_path):
    fill(Block.of(tmp_path / "other", lacking.spec, IDS), rows, {"image-0300": "is damaged"})
    both = stored_blocks(tmp_path)
    assert block_differences(*both) == [("skipped images", "image-0000, image-0300, image-0599", "image-0300")]
    assert block_differences(both[0], both[0]) == []


@pytest.mark.parametrize("skipped", [SKIPPED, LAST, {**dict.fromkeys(IDS[:256], "is damaged"), **SKIPPED}])
def test_an_exported_copy_comes_back_to_the_last_byte(empty, rows, tmp_path, skipped):
    lacking = fill(empty, rows, skipped)
    export(stored(tmp_path), tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert json.loads(file.attrs["skipped"]) == skipped
        assert file["descriptors"].shape == (600 - len(skipped), 5)
    back = import_file(tmp_path / "x.h5", tmp_path / "other")
    assert back.skipped() == skipped
    for path in lacking.folder.glob("rows-*.h5"):
        assert (back.folder / path.name).read_bytes() == path.read_bytes()
