import hashlib
import io
from dataclasses import replace

import h5py
import numpy as np
import pytest

from transferbench.cache.shard import Shard, decode, encode, encoded_ids
from transferbench.cache.unmoved import UnmovedArrayFile
from transferbench.errors import CacheError
from transferbench.types.identity import canonical_json

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


def by_h5py_alone(shard, spec):
    """The same file, made without ever leaving the rows where they are."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110"), track_order=False) as file:
        file.create_dataset("ids", data=encoded_ids(shard.ids))
        file.create_dataset("descriptors", data=shard.array)
        digest = hashlib.sha256(canonical_json(shard.ids).encode() + shard.array.tobytes())
        digest.update(canonical_json(shard.skipped).encode() if shard.skipped else b"")
        file.attrs.update(
            {
                "encoding-type": "transferbench.descriptors",
                "encoding-version": "1",
                "shard": shard.index,
                "spec": canonical_json(spec.to_dict()),
                "spec-key": spec.key(),
                "rows-sha256": digest.hexdigest(),
                **({"skipped": canonical_json(shard.skipped)} if shard.skipped else {}),
            }
        )
    return buffer.getvalue()


@pytest.mark.parametrize("skipped", [{}, {"zz": "is damaged: " + "x" * 5000}])
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 5), (7, 2341), (256, 300)])
def test_rows_that_are_not_moved_make_the_file_that_h5py_makes(spec, shape, skipped):
    ids = tuple(f"é{i:030d}" for i in range(shape[0]))
    shard = Shard(4, ids, np.random.default_rng(0).standard_normal(shape).astype("<f4"), skipped)
    told = []
    encoded = encode(shard, spec, lambda at, rows: told.append((at, rows)))
    assert b"".join(encoded.pieces) == by_h5py_alone(shard, spec)
    assert encoded.sha256() == hashlib.sha256(by_h5py_alone(shard, spec)).hexdigest()
    if shard.ids:
        assert np.shares_memory(np.frombuffer(encoded.rows, np.uint8), shard.array)
        assert told == [(encoded.places["descriptors_at"], encoded.rows)]
        assert encoded.places["descriptors_at"] == len(encoded.before)
        back = decode(file_of(shard, spec), spec, 4, "x")
        assert back.places == encoded.places
        assert file_of(shard, spec)[encoded.places["ids_at"] :].startswith(encoded_ids(ids).tobytes())
    else:
        assert (told, encoded.places) == ([], {})


def test_rows_that_have_to_be_converted_are_stored_as_well(spec):
    turned = Shard(2, SHARD.ids, np.asfortranarray(SHARD.array))
    assert file_of(turned, spec) == file_of(SHARD, spec)
    assert file_of(Shard(2, SHARD.ids, SHARD.array.astype(">f4")), spec) == file_of(SHARD, spec)


def test_nothing_else_is_written_where_the_rows_lie():
    array = np.arange(10, dtype=np.uint8)
    file = UnmovedArrayFile(array, lambda _at, _rows: None)
    file.seek(4)
    file.write(b"0123456789ab")
    file.seek(2)
    file.write(array.data)
    assert b"".join(file.pieces()) == bytes([0, 0, *range(10)]) + b"89ab"
    for at in (0, 5, 11):
        file.seek(at)
        with pytest.raises(CacheError, match="whose rows begin at 2"):
            file.write(b"xyz")
    with pytest.raises(CacheError, match="whose rows begin at 2"):
        file.truncate(5)
    file.seek(0, io.SEEK_END)
    assert file.truncate(18) == 18
    assert b"".join(file.pieces()) == bytes([0, 0, *range(10)]) + b"89ab\0\0"


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
