"""`--compile`: the same descriptors, and one set of kernels for all sizes."""

import functools

import numpy as np
import pytest
import torch

from transferbench.extraction.torch_engine import TorchEngine
from transferbench.nets.inputs import DenseBackbone
from transferbench.nets.modules import VGG, initialise
from transferbench.pipeline.engines import steps_of
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

SHAPES = [(1, 64, 72), (2, 64, 80), (1, 70, 64), (3, 65, 71), (2, 96, 128), (4, 64, 64), (1, 90, 64), (2, 128, 64)]
"""Of more images of more sizes than torch compiles one by one."""


def backbone(name="A", crop=64):
    net = VGG(NetSpec(name=name, width=1 / 32, crop=crop, n_classes=4))
    initialise(net, "glorot", 0)
    return DenseBackbone(net.eval(), Preprocessing())


def batches(shapes=SHAPES):
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def test_one_graph_serves_images_of_any_size(monkeypatch):
    """Traced as for any compiler, but run as it is: making kernels takes a minute."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    plain, made = backbone(), backbone()
    exact = TorchEngine(plain, "cpu", steps=steps_of(plain))
    compiled = TorchEngine(made, "cpu", steps=steps_of(made), compiled=True)
    for images in batches():
        expected, found = exact.describe(images, flip=True), compiled.describe(images, flip=True)
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max(), images.shape
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] in {1, 2}
    assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_kernels_of_a_gpu_give_the_same():
    torch.compiler.reset()
    plain, made = backbone(), backbone()
    exact = TorchEngine(plain, "cuda:0", steps=steps_of(plain))
    compiled = TorchEngine(made, "cuda:0", "bfloat16", steps=steps_of(made), compiled=True)
    for images in batches():
        expected, found = exact.describe(images), compiled.describe(images)
        cosines = (expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
        assert cosines.min() >= 0.9995, images.shape
