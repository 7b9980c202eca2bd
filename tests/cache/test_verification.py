import numpy as np
import pytest

from transferbench.cache.store import stored_blocks
from transferbench.cache.verification import load, verify


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


def test_all_rows_are_loaded_by_what_the_manifest_says(block, stored):
    found = load(stored)
    assert found.ids == block.ids
    assert np.array_equal(found.array, block.read().array)
