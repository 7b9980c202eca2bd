"""Engines beside one another, and beside the net computed layer by layer."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from transferbench.errors import DeviceError
from transferbench.extraction import ncnn_engine
from transferbench.extraction.ncnn_engine import NcnnEngine
from transferbench.extraction.torch_engine import TorchEngine
from transferbench.nets.inputs import DenseBackbone
from transferbench.nets.modules import VGG, initialise
from transferbench.nets.plain import plain_trunk
from transferbench.pipeline.engines import steps_of
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

IMAGES = np.random.default_rng(5).integers(0, 256, (3, 101, 141, 3), dtype=np.uint8)


def net_of(name, crop=64, **options):
    net = VGG(NetSpec(name=name, width=1 / 4, crop=crop, n_classes=5, **options))
    initialise(net, "glorot", 1)
    with torch.no_grad():
        for key, value in net.named_parameters():
            if key.endswith("bias"):
                value.copy_(torch.linspace(-0.5, 0.5, len(value)))
    return net.eval()


def engines_of(net, layer="fc7+relu"):
    backbone = DenseBackbone(net, Preprocessing(), layer=layer)
    return (
        TorchEngine(backbone, "cpu", steps=steps_of(backbone)),
        NcnnEngine(backbone.inputs, plain_trunk(net), backbone.head, backbone.margin_px),
    )


def least_cosine(a, b):
    return ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min()


@pytest.mark.parametrize("name", ["A", "A-LRN", "C", "D"])
@pytest.mark.parametrize("rounding", ["ceil", "floor"])
@pytest.mark.parametrize("layer", ["fc7+relu", "pool5"])
def test_engines_give_what_the_net_gives_layer_by_layer(name, rounding, layer):
    net = net_of(name, pool_rounding=rounding)
    with torch.inference_mode():
        pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() - torch.tensor(Preprocessing().mean).view(3, 1, 1)
        expected = net.describe(pixels, layer).numpy()
    for engine in engines_of(net, layer):
        found = engine.describe(IMAGES)
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max(), engine.name
        assert least_cosine(found, expected) >= 0.99999
        assert np.array_equal(found, engine.describe(IMAGES))


@pytest.mark.parametrize("layer", ["fc7+relu", "pool5"])
def test_rows_of_mirror_images_follow_and_are_what_the_net_gives_for_images_that_pillow_mirrors(layer):
    net = net_of("A")
    mirrored = np.stack([np.asarray(ImageOps.mirror(Image.fromarray(image))) for image in IMAGES])
    with torch.inference_mode():
        given = torch.from_numpy(np.concatenate([IMAGES, mirrored])).permute(0, 3, 1, 2).float()
        expected = net.describe(given - torch.tensor(Preprocessing().mean).view(3, 1, 1), layer).numpy()
    for engine in engines_of(net, layer):
        found = engine.describe(IMAGES, flip=True)
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max(), engine.name
        assert least_cosine(found[3:], expected[:3]) < 0.9999  # so that it shows which are which


def test_fc6_gives_what_its_convolution_gives():
    net = net_of("B")
    torch_engine, ncnn_engine = engines_of(net, "fc6+relu")
    with torch.inference_mode():
        inputs = DenseBackbone(net, Preprocessing()).inputs(torch.from_numpy(IMAGES))
        expected = net.fc6(net.trunk(inputs)).relu().mean((2, 3)).numpy()
    for engine in (torch_engine, ncnn_engine):
        assert np.abs(engine.describe(IMAGES) - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("size", [(224, 224), (239, 270), (256, 320)])
def test_fc6_of_the_papers_crop_gives_what_its_convolution_gives(size):
    """7 x 7: by Winograd's algorithm, with odd and even numbers of positions."""
    net = net_of("A", crop=224)
    images = np.random.default_rng(6).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    inputs = DenseBackbone(net, Preprocessing()).inputs(torch.from_numpy(images))
    with torch.inference_mode():
        expected = net.describe(inputs).numpy()
    for engine in engines_of(net):
        found = engine.describe(images)
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max(), engine.name
        assert least_cosine(found, expected) >= 0.99999


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_less_precise_products_give_nearly_the_same_direction(precision):
    net = net_of("D")
    exact, _ = engines_of(net)
    engine = TorchEngine(DenseBackbone(net, Preprocessing()), "cpu", precision)
    found, expected = engine.describe(IMAGES), exact.describe(IMAGES)
    assert found.dtype == np.float32
    assert least_cosine(found, expected) >= 0.9995
    assert not np.array_equal(found, expected)


def test_memory_that_is_not_there_is_a_memory_error():
    class Greedy(torch.nn.Module):
        def forward(self, images):
            return torch.empty(10**15)

    with pytest.raises(MemoryError):
        TorchEngine(Greedy(), "cpu").describe(IMAGES)


def test_a_layer_for_which_ncnn_has_no_memory_is_a_memory_error():
    _, engine = engines_of(net_of("A"))
    trunk = ncnn_engine._Trunk(plain_trunk(net_of("A")))
    failing = SimpleNamespace(input=lambda *_: 0, extract=lambda name: (-100, None))
    trunk._net = SimpleNamespace(create_extractor=lambda: failing)
    engine._steps = replace(engine._steps, trunk=lambda image: trunk(torch.zeros(1, 3, *image.shape[1:3])))
    with pytest.raises(MemoryError, match="ncnn has no memory for an image of 141 x 101 px"):
        engine.describe(IMAGES)


def test_another_error_stays_what_it_is():
    class Wrong(torch.nn.Module):
        def forward(self, images):
            return images @ torch.ones(7)

    with pytest.raises(RuntimeError, match="size mismatch|mat|dtype"):
        TorchEngine(Wrong(), "cpu").describe(IMAGES)


def test_a_missing_ncnn_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("transferbench.extraction.ncnn_engine.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"pip install 'transferbench\[cpu\]'"):
        engines_of(net_of("A"))
