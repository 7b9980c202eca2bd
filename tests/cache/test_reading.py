"""Complete blocks are read where the manifest says their rows lie; what it says is checked, and may be missing."""

import json
import resource
from dataclasses import replace

import h5py
import numpy as np
import pytest

from transferbench.cache import reading
from transferbench.cache.block import Block
from transferbench.cache.manifest import MANIFEST
from transferbench.cache.store import stored_blocks
from transferbench.cache.verification import verify
from transferbench.errors import CacheError
from transferbench.types.identity import sha256_of


def restate(block, change):
    """Publish a manifest that somebody has changed and hashed again."""
    path = block.folder / MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    change(manifest)
    path.write_text(json.dumps({**manifest, "sha256": sha256_of(manifest)}))


def forget_places(manifest):
    for entry in manifest["shards"]:
        del entry["ids_at"], entry["descriptors_at"]


@pytest.fixture
def no_hdf5(block, monkeypatch):  # which has been written by then
    def refuse(*_args, **_kwargs):
        pytest.fail("HDF5 was asked")

    monkeypatch.setattr(h5py, "File", refuse)


def test_the_manifest_says_where_the_rows_lie(block, rows):
    entry = json.loads((block.folder / MANIFEST).read_text())["shards"][1]
    data = (block.folder / entry["file"]).read_bytes()
    found = np.frombuffer(data, "<f4", count=256 * 5, offset=entry["descriptors_at"])
    assert np.array_equal(found.reshape(256, 5), rows[256:512])
    assert data[entry["ids_at"] :].startswith(b"".join(i.encode() for i in block.ids[256:512]))


@pytest.mark.usefixtures("no_hdf5")
def test_rows_are_read_without_hdf5(block, rows):
    assert np.array_equal(block.read().array, rows)
    shards = list(block.shards())
    assert tuple(i for shard in shards for i in shard.ids) == block.ids
    assert np.array_equal(np.concatenate([shard.array for shard in shards]), rows)


def test_a_block_whose_manifest_says_nothing_of_places_is_read_through_hdf5(block, rows, tmp_path):
    restate(block, forget_places)
    assert np.array_equal(block.read().array, rows)
    assert np.array_equal(np.concatenate([shard.array for shard in block.shards()]), rows)
    assert verify(stored_blocks(tmp_path)[0]) == []


@pytest.mark.parametrize("change", [None, forget_places])
@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_is_found_either_way_and_the_file_named(block, seed, change):
    if change:
        restate(block, change)
    random = np.random.default_rng(seed)
    path = block.shard_path(seed % 3)
    data = bytearray(path.read_bytes())
    bit = int(random.integers(len(data) * 8))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    with pytest.raises(CacheError, match=rf"{path.name}: is damaged: sha256 \w+, the manifest says"):
        block.read()
    with pytest.raises(CacheError, match=rf"{path.name}: is damaged"):
        list(block.shards())


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda _data: b""])
def test_a_file_of_another_length_is_found(block, change):
    path = block.shard_path(1)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CacheError, match=r"rows-00001.h5: is damaged"):
        block.read()


@pytest.mark.parametrize(
    "places",
    [
        {"ids_at": "447"},
        {"ids_at": None},
        {"ids_at": -1},
        {"descriptors_at": 1 << 40},
        {"descriptors_at": 10},
        {"descriptors_at": True},
        {"bytes": 17},
    ],
)
def test_places_that_cannot_be_right_are_not_used(block, rows, places):
    restate(block, lambda manifest: manifest["shards"][1].update(places))
    assert np.array_equal(block.read().array, rows)


def test_places_that_are_wrong_are_found(block, tmp_path):
    restate(block, lambda manifest: manifest["shards"][1].update(ids_at=448))
    with pytest.raises(CacheError, match=r"rows-00001.h5: its images or its spec are not those of the manifest"):
        block.read()
    restate(block, lambda manifest: manifest["shards"][1].update(ids_at=447, descriptors_at=5000))
    (problem,) = verify(stored_blocks(tmp_path)[0])
    assert "rows-00001.h5: its rows do not lie where the manifest says" in problem


def test_absurd_lengths_take_no_memory(block):
    restate(block, lambda manifest: manifest.update(dimensions=1 << 40))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CacheError, match=r"rows-0000\d.h5: its images or its spec are not those of the manifest"):
        block.read()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000


@pytest.mark.parametrize("change", [None, forget_places])
def test_a_shard_of_other_images_or_of_another_spec_is_refused_even_if_the_manifest_lists_it(
    empty, rows, tmp_path, change
):
    others = (
        Block.of(tmp_path / "x", empty.spec, tuple(i.replace("image", "photo") for i in empty.ids)),
        Block.of(tmp_path / "x", replace(empty.spec, short_side_px=384), empty.ids),
    )
    for index in range(3):
        empty.write(index, rows[256 * index : 256 * (index + 1)])
    empty.finish({})
    original = (empty.folder / MANIFEST).read_bytes()
    for other in others:
        for index in range(3):
            other.write(index, rows[256 * index : 256 * (index + 1)])
        other.finish({})
        listed = json.loads((other.folder / MANIFEST).read_text())["shards"]
        (empty.folder / MANIFEST).write_bytes(original)
        restate(empty, lambda manifest, listed=listed: manifest["shards"].__setitem__(1, listed[1]))
        if change:
            restate(empty, change)
        empty.shard_path(1).write_bytes(other.shard_path(1).read_bytes())
        with pytest.raises(CacheError, match=r"rows-00001.h5: "):
            empty.read()


def test_reads_that_come_in_bits_are_put_together(block, rows, monkeypatch):
    """A network file system may give less than was asked for."""
    whole = reading._fill

    class Slow:
        def __init__(self, file):
            self.readinto = lambda room: file.readinto(room[:100])

    monkeypatch.setattr(reading, "_fill", lambda piece, file: whole(piece, Slow(file)))
    assert np.array_equal(block.read().array, rows)
