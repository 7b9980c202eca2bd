"""The torch engine on a GPU, beside itself on the CPU in float32."""

import numpy as np
import pytest
import torch

from transferbench.extraction.dense import describe
from transferbench.extraction.torch_engine import TorchEngine
from transferbench.nets.inputs import DenseBackbone
from transferbench.nets.modules import VGG, initialise
from transferbench.pipeline.engines import steps_of
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
GPU = "cuda:0"


def engine(device, precision="float32", name="D", crop=64, width=1 / 4):
    net = VGG(NetSpec(name=name, width=width, crop=crop, n_classes=5))
    initialise(net, "glorot", 1)
    backbone = DenseBackbone(net.eval(), Preprocessing())
    return TorchEngine(backbone, device, precision, steps=steps_of(backbone))


def images_of(count, height=101, width=141):
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def least_cosine(a, b):
    return ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min()


def all_rows(made, images, *, flip=True, warn=None):
    sizes = [(image.shape[1], image.shape[0]) for image in images]
    return describe(
        made, sizes, lambda places: (images[p] for p in places), flip=flip, done=lambda _n: None, warn=warn or print
    )


@pytest.mark.parametrize(("precision", "cosine"), [("float32", 0.99999), ("bfloat16", 0.9995), ("float16", 0.9995)])
@pytest.mark.parametrize("crop", [64, 224])
def test_the_direction_is_that_of_the_cpu(precision, cosine, crop):
    images = images_of(3, 230, 260)
    expected = engine("cpu", crop=crop).describe(images, flip=True)
    found = engine(GPU, precision, crop=crop).describe(images, flip=True)
    assert found.dtype == np.float32
    assert least_cosine(found, expected) >= cosine
    if precision == "float32":  # TF32 would be off by a thousandth
        assert np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max()


def test_flipped_rows_are_those_of_the_mirror_images():
    made, images = engine(GPU), images_of(2)
    rows = made.describe(images, flip=True)
    mirrored = made.describe(np.ascontiguousarray(images[:, :, ::-1]))
    assert np.abs(rows[2:] - mirrored).max() <= 1e-5 * np.abs(mirrored).max()


def test_what_was_begun_first_is_not_spoilt_by_what_was_begun_after_it():
    made = engine(GPU)
    several = [images_of(n, 96 + 8 * n, 128) for n in range(1, 7)]
    expected = [made.describe(images, flip=True) for images in several]
    begun = [made.start(images, flip=True) for images in several]
    for rows, whole in zip(begun, expected, strict=True):
        assert np.abs(rows() - whole).max() <= 1e-5 * np.abs(whole).max()


def test_batches_ahead_give_what_the_cpu_gives():
    images = [image for n in range(3) for image in images_of(4, 96 + 16 * n, 128)]
    expected = all_rows(engine("cpu"), images)
    assert np.abs(all_rows(engine(GPU), images) - expected).max() <= 2e-5 * np.abs(expected).max()


def test_too_little_memory_halves_batches_and_keeps_the_numbers():
    made, images, told = engine(GPU, width=1.0), list(images_of(64, 256, 256)), []
    expected = all_rows(made, images, warn=told.append)
    assert not told
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 2.5e9) / total)
    try:
        found = all_rows(made, images, warn=told.append)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert told
    assert "out of memory with" in told[0]
    assert np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max()


def test_long_images_go_in_bands():
    made, images = engine(GPU), images_of(1, 96, 4000)
    whole = made.describe(images)
    made.band_pixels = 96 * 640
    assert np.abs(made.describe(images) - whole).max() <= 1e-5 * np.abs(whole).max()


def test_the_same_bits_again_where_torch_is_told_to_be_deterministic():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        rows = [engine(GPU, "bfloat16").describe(images_of(4)) for _ in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert np.array_equal(*rows)


def test_what_torch_was_set_to_is_as_before():
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    made = engine(GPU)
    for _ in range(4):  # from the third batch of a shape on, cuDNN tries its algorithms
        made.describe(images_of(2))
    after = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    assert before == after
