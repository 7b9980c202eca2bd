import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferbench.extraction.dense import BATCH_PIXELS, batches, describe
from transferbench.types import NetSpec, Preprocessing

side = st.integers(1, 1200)


@given(st.lists(st.tuples(side, side), max_size=40), st.integers(1, 2))
def test_batches_hold_every_position_once_equal_sizes_and_bounded_pixels(sizes, copies):
    found = batches(sizes, copies=copies)
    assert sorted(p for batch in found for p in batch) == list(range(len(sizes)))
    for batch in found:
        assert len({sizes[p] for p in batch}) == 1
        width, height = sizes[batch[0]]
        assert len(batch) == 1 or len(batch) * width * height * copies <= BATCH_PIXELS


class Sums:
    """An engine whose descriptors can be worked out by hand: sums of the left and of the right half."""

    def __init__(self):
        self.calls = []

    def describe(self, images):
        self.calls.append(images.shape)
        half = images.shape[2] // 2
        return np.stack([images[:, :, :half].sum((1, 2, 3)), images[:, :, -half:].sum((1, 2, 3))], axis=1).astype(
            np.float32
        )


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in [(4, 6), (6, 4), (4, 6), (8, 8)]]


def run(images, *, flip):
    engine, told = Sums(), []
    sizes = [(image.shape[1], image.shape[0]) for image in images]
    return describe(engine, sizes, lambda position: images[position], flip=flip, done=told.append), engine, told


def test_rows_keep_the_order_of_the_images(images):
    rows, _, told = run(images, flip=False)
    assert np.array_equal(rows, np.concatenate([Sums().describe(image[None]) for image in images]))
    assert sum(told) == len(images)


def test_flipping_averages_with_the_mirrored_image(images):
    plain, _, _ = run(images, flip=False)
    rows, engine, _ = run(images, flip=True)
    assert np.allclose(rows, (plain + plain[:, ::-1]) / 2)
    assert (4, 4, 6, 3) in engine.calls  # both images of that size and both their mirror images in one batch


def test_the_real_engine_gives_one_image_and_a_batch_the_same_descriptor():
    import torch

    from transferbench.extraction.engine import TorchEngine
    from transferbench.nets.inputs import DenseBackbone
    from transferbench.nets.weights import random_weights

    spec = NetSpec(name="A", width=1 / 32, crop=32, n_classes=4)
    weights = random_weights(spec, Preprocessing(), seed=0)
    engine = TorchEngine(DenseBackbone(weights.build(), weights.header.preprocessing), "cpu")
    images = np.random.default_rng(1).integers(0, 256, (5, 40, 72, 3), dtype=np.uint8)
    together = engine.describe(images)
    apart = np.concatenate([engine.describe(image[None]) for image in images])
    assert together.dtype == np.float32
    assert np.abs(together - apart).max() <= 1e-5 * np.abs(together).max()
    mirrored = describe(engine, [(72, 40)] * 5, lambda p: images[p], flip=True, done=lambda n: None)
    assert np.allclose(
        mirrored, (together + engine.describe(np.ascontiguousarray(images[:, :, ::-1]))) / 2, rtol=1e-4, atol=1e-5
    )
    assert torch.is_inference_mode_enabled() is False
