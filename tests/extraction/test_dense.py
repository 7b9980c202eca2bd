import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferbench.errors import DeviceError
from transferbench.extraction.dense import batches, describe
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

BATCH_PIXELS = 1 << 20
side = st.integers(1, 1200)


@given(st.lists(st.tuples(side, side), max_size=40), st.integers(1, 2))
def test_batches_hold_every_position_once_equal_sizes_and_bounded_pixels(sizes, copies):
    found = batches(sizes, copies=copies, batch_pixels=BATCH_PIXELS)
    assert sorted(p for batch in found for p in batch) == list(range(len(sizes)))
    for batch in found:
        assert len({sizes[p] for p in batch}) == 1
        width, height = sizes[batch[0]]
        assert len(batch) == 1 or len(batch) * width * height * copies <= BATCH_PIXELS


class Sums:
    """An engine whose descriptors can be worked out by hand: sums of the left and of the right half."""

    device = "cpu"
    band_pixels = None

    def __init__(self, batch_pixels=BATCH_PIXELS):
        self.calls = []
        self.batch_pixels = batch_pixels

    def start(self, images, *, flip=False):
        return None

    def narrower(self, height, width):
        return False

    def describe(self, images, *, flip=False):
        images = np.concatenate([images, images[:, :, ::-1]]) if flip else images
        self.calls.append(images.shape)
        half = images.shape[2] // 2
        return np.stack([images[:, :, :half].sum((1, 2, 3)), images[:, :, -half:].sum((1, 2, 3))], axis=1).astype(
            np.float32
        )


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in [(4, 6), (6, 4), (4, 6), (8, 8)]]


def described(engine, images, *, flip, done=lambda n: None, warn=None):
    sizes = [(image.shape[1], image.shape[0]) for image in images]
    load = lambda positions: (images[position] for position in positions)  # noqa: E731
    return describe(engine, sizes, load, flip=flip, done=done, warn=warn)


def run(images, *, flip):
    engine, told = Sums(), []
    return described(engine, images, flip=flip, done=told.append), engine, told


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

    from transferbench.extraction.torch_engine import TorchEngine
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
    mirrored = described(engine, images, flip=True)
    assert np.allclose(
        mirrored, (together + engine.describe(np.ascontiguousarray(images[:, :, ::-1]))) / 2, rtol=1e-4, atol=1e-5
    )
    assert torch.is_inference_mode_enabled() is False


class Small(Sums):
    """Has room for a few pixels only."""

    def __init__(self, room_px):
        super().__init__()
        self.room_px = room_px

    def describe(self, images, *, flip=False):
        count = len(images) * (2 if flip else 1)
        self.calls.append((count, *images.shape[1:]))
        if count * images.shape[1] * images.shape[2] > self.room_px:
            raise MemoryError
        return Sums().describe(images, flip=flip)


def test_a_batch_that_does_not_fit_is_halved_for_good_and_gives_the_same_numbers():
    images = list(np.random.default_rng(2).integers(0, 256, (9, 4, 6, 3), dtype=np.uint8))
    engine, warnings = Small(room_px=11 * 24), []
    rows = described(engine, images, flip=True, warn=warnings.append)
    assert np.array_equal(rows, described(Sums(), images, flip=True))
    assert warnings == ["out of memory with 18 images of 6 x 4 px at a time; going on with batches of 216 px"]
    assert engine.calls == [(18, 4, 6, 3), (8, 4, 6, 3), (8, 4, 6, 3), (2, 4, 6, 3)]
    again = described(engine, images, flip=True, warn=warnings.append)
    assert np.array_equal(rows, again)
    assert len(warnings) == 1


def test_an_image_and_its_mirror_image_go_apart_where_both_are_too_much():
    images = [np.random.default_rng(3).integers(0, 256, (4, 60, 3), dtype=np.uint8)]
    engine = Sums(batch_pixels=300)
    assert np.array_equal(described(engine, images, flip=True), described(Sums(), images, flip=True))
    assert engine.calls == [(1, 4, 60, 3), (1, 4, 60, 3)]


def test_an_image_for_which_there_is_no_memory_at_all_is_a_clear_error():
    with pytest.raises(DeviceError, match="an image of 6 x 4 px does not fit into the memory of cpu"):
        described(Small(room_px=20), [np.zeros((4, 6, 3), dtype=np.uint8)], flip=False)


class Ahead(Small):
    """Works on while the next batch is prepared, as a GPU does; notes when it begins and when it is waited for."""

    def start(self, images, *, flip=False):
        rows = self.describe(images, flip=flip)
        number = sum(kind == "begun" for kind, _ in self.order)
        self.order.append(("begun", number))

        def wait():
            self.order.append(("waited for", number))
            if number in self.late:
                raise MemoryError
            return rows

        return wait

    def __init__(self, room_px, late=()):
        super().__init__(room_px)
        self.order, self.late = [], late


def different(count):
    random = np.random.default_rng(count)
    return [random.integers(0, 256, (4, 6 + k, 3), dtype=np.uint8) for k in range(count)]


def test_a_batch_is_begun_before_the_one_before_it_is_waited_for_and_rows_keep_their_order():
    images, told = different(3), []
    engine = Ahead(room_px=10**6)
    rows = described(engine, images, flip=True, done=told.append)
    assert np.array_equal(rows, described(Sums(), images, flip=True))
    assert engine.order == [
        ("begun", 0),
        ("begun", 1),
        ("waited for", 0),
        ("begun", 2),
        ("waited for", 1),
        ("waited for", 2),
    ]
    assert told == [1, 1, 1]


def test_memory_that_ends_at_the_beginning_of_a_batch_or_while_it_is_waited_for_halves_it_and_keeps_the_numbers():
    images = [image for image in different(3) for _ in range(4)]
    for engine in (Ahead(room_px=6 * 4 * 8), Ahead(room_px=10**6, late=(1,))):
        warnings = []
        rows = described(engine, images, flip=True, warn=warnings.append)
        assert np.array_equal(rows, described(Sums(), images, flip=True))
        assert warnings
        assert "out of memory with 8 images" in warnings[0]


class Banded(Small):
    """Takes an image of any size in bands, as long as these fit."""

    band_pixels = 1000

    def narrower(self, height, width):
        if self.band_pixels <= 30:
            return False
        self.band_pixels = min(self.band_pixels, height * width) // 2
        return True

    def describe(self, images, *, flip=False):
        if min(images.shape[1] * images.shape[2], self.band_pixels) > self.room_px:
            raise MemoryError
        return Sums().describe(images, flip=flip)


def test_one_image_that_does_not_fit_goes_in_narrower_bands():
    images, warnings = [np.random.default_rng(4).integers(0, 256, (4, 90, 3), dtype=np.uint8)], []
    engine = Banded(room_px=100)
    assert np.array_equal(described(engine, images, flip=False, warn=warnings.append), Sums().describe(images[0][None]))
    assert engine.band_pixels == 90
    assert [line.partition("; ")[2] for line in warnings] == [
        "going on with bands of 180 px",
        "going on with bands of 90 px",
    ]
    with pytest.raises(DeviceError, match="an image of 90 x 4 px does not fit into the memory of cpu"):
        described(Banded(room_px=10), images, flip=False, warn=warnings.append)
