import numpy as np
import pytest

from transferbench.cache.block import Block
from transferbench.cache.store import stored_blocks
from transferbench.types.descriptors import DescriptorSpec
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

IDS = tuple(f"image-{i:04d}" for i in range(600))


@pytest.fixture
def spec():
    return DescriptorSpec(
        dataset="demo",
        images_sha256="a" * 64,
        net=NetSpec(name="D"),
        weights_sha256="b" * 64,
        preprocessing=Preprocessing(),
        short_side_px=256,
    )


@pytest.fixture
def rows():
    return np.random.default_rng(0).standard_normal((600, 5)).astype(np.float32)


@pytest.fixture
def empty(tmp_path, spec):
    return Block.of(tmp_path, spec, IDS)


@pytest.fixture
def block(empty, rows):
    for index in range(empty.n_shards):
        empty.write(index, rows[256 * index : 256 * (index + 1)])
    empty.finish({"torch": "1"})
    return empty


@pytest.fixture
def stored(block, tmp_path):
    (found,) = stored_blocks(tmp_path)
    return found
