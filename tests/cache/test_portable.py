import io
import json

import h5py
import numpy as np
import pytest

from transferbench.cache.portable import export, import_file
from transferbench.errors import CacheError, FeatureError


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
