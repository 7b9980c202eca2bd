import io
from dataclasses import replace

import h5py
import numpy as np
import pytest

from transferbench.cache.shard import Shard, decode, encode
from transferbench.errors import CacheError

SHARD = Shard(2, ("a", "bé", "c c"), np.arange(12, dtype=np.float32).reshape(3, 4) + 1)


def file_of(shard, spec):
    return b"".join(encode(shard, spec).pieces)


def rebuilt(data, change):
    """A shard that somebody edited with h5py."""
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        change(file)
    return buffer.getvalue()


def test_a_round_trip_is_exact(spec):
    back = decode(file_of(SHARD, spec), spec, 2, "x")
    assert back.ids == SHARD.ids
    assert back.array.dtype == np.float32
    assert np.array_equal(back.array, SHARD.array)


def test_the_same_rows_give_the_same_bytes(spec):
    assert file_of(SHARD, spec) == file_of(Shard(2, SHARD.ids, SHARD.array.copy()), spec)


def test_plain_h5py_reads_it(spec, tmp_path):
    (tmp_path / "x.h5").write_bytes(file_of(SHARD, spec))
    with h5py.File(tmp_path / "x.h5") as file:
        assert file.attrs["encoding-type"] == "transferbench.descriptors"
        assert file["ids"].asstr()[()].tolist() == list(SHARD.ids)
        assert np.array_equal(file["descriptors"][()], SHARD.array)


def test_every_flipped_bit_in_the_rows_is_found(spec):
    data = bytes(file_of(SHARD, spec))
    start = data.index(SHARD.array.tobytes())
    for bit in range(SHARD.array.nbytes * 8):
        flipped = bytearray(data)
        flipped[start + bit // 8] ^= 1 << bit % 8
        with pytest.raises(CacheError, match="x: its rows have changed"):
            decode(bytes(flipped), spec, 2, "x")


@pytest.mark.parametrize("length", [0, 100, -1])
def test_a_truncated_file_is_refused_by_name(spec, length):
    with pytest.raises(CacheError, match="shard-file"):
        decode(file_of(SHARD, spec)[:length], spec, 2, "shard-file")


def test_another_spec_or_index_is_refused(spec):
    with pytest.raises(CacheError, match="attribute spec-key"):
        decode(file_of(SHARD, spec), replace(spec, flip=False), 2, "x")
    with pytest.raises(CacheError, match="attribute shard is 2, expected 3"):
        decode(file_of(SHARD, spec), spec, 3, "x")


def replace_member(file, name, make):
    del file[name]
    make()


def external_link(file):
    replace_member(
        file, "descriptors", lambda: file.__setitem__("descriptors", h5py.ExternalLink("/etc/other.h5", "/x"))
    )


def soft_link(file):
    replace_member(file, "descriptors", lambda: file.__setitem__("descriptors", h5py.SoftLink("/ids")))


def external_storage(file):
    replace_member(
        file,
        "descriptors",
        lambda: file.create_dataset("descriptors", (3, 4), "<f4", external=[("/etc/passwd", 0, 48)]),
    )


def virtual(file):
    layout = h5py.VirtualLayout((3, 4), "<f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (3, 4))
    replace_member(file, "descriptors", lambda: file.create_virtual_dataset("descriptors", layout))


def group(file):
    replace_member(file, "descriptors", lambda: file.create_group("descriptors"))


def huge(file):
    replace_member(
        file, "descriptors", lambda: file.create_dataset("descriptors", (3, 1 << 40), "<f4", chunks=(1, 1 << 10))
    )


def doubles(file):
    replace_member(file, "descriptors", lambda: file.create_dataset("descriptors", data=np.ones((3, 4))))


def more_members(file):
    file["more"] = 1


def fewer_rows(file):
    replace_member(file, "descriptors", lambda: file.create_dataset("descriptors", data=np.ones((2, 4), np.float32)))


@pytest.mark.parametrize(
    "change", [external_link, soft_link, external_storage, virtual, group, huge, doubles, more_members, fewer_rows]
)
def test_files_that_are_not_plain_shards_are_refused(spec, change):
    with pytest.raises(CacheError, match="^x: "):
        decode(rebuilt(file_of(SHARD, spec), change), spec, 2, "x")


def test_edited_rows_are_refused_even_when_hdf5_is_content(spec):
    def edit(file):
        file["descriptors"][0, 0] = 99

    with pytest.raises(CacheError, match="rows have changed"):
        decode(rebuilt(file_of(SHARD, spec), edit), spec, 2, "x")
