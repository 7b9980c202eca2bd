"""Images in bands give what they give as a whole: by the nets themselves, and by maps that can be counted by hand."""

import numpy as np
import pytest
import torch

from transferbench.extraction.bands import CELL_PX, in_bands, narrowest
from transferbench.extraction.ncnn_engine import NcnnEngine
from transferbench.extraction.torch_engine import TorchEngine
from transferbench.nets import head
from transferbench.nets.inputs import DenseBackbone
from transferbench.nets.modules import VGG, initialise
from transferbench.nets.plain import plain_trunk
from transferbench.nets.vgg import margin_px
from transferbench.pipeline.engines import steps_of
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

WIDE = torch.from_numpy(np.random.default_rng(8).integers(0, 256, (2, 70, 1013, 3), dtype=np.uint8))
LYING_AND_STANDING = (WIDE, WIDE.transpose(1, 2).contiguous())


def backbone_of(name, rounding="ceil", layer="fc7+relu"):
    net = VGG(NetSpec(name=name, width=1 / 16, crop=64, n_classes=5, pool_rounding=rounding))
    initialise(net, "glorot", 1)
    with torch.no_grad():  # so that a band's end shows: zeros that are padded are not what the image goes on with
        for key, value in net.named_parameters():
            if key.endswith("bias"):
                value.copy_(torch.linspace(-0.1, 0.9, len(value)))
    return DenseBackbone(net.eval(), Preprocessing(), layer=layer)


@pytest.mark.parametrize(
    ("name", "rounding"),
    [("A", "ceil"), ("A-LRN", "floor"), ("C", "ceil"), ("E", "floor"), ("E", "ceil"), ("B-5x5", "ceil")],
)
@pytest.mark.parametrize("images", LYING_AND_STANDING, ids=["lying", "standing"])
def test_a_map_made_in_bands_is_the_map(name, rounding, images):
    backbone = backbone_of(name, rounding)
    seen = []

    def trunk(part):
        seen.append(part.shape[1] * part.shape[2])
        return backbone.trunk(part)

    with torch.inference_mode():
        whole = backbone.trunk(images)
        for most in (70 * 352, 70 * 416, 1):
            seen.clear()
            banded = in_bands(trunk, images, most_pixels=most, margin_px=backbone.margin_px)
            assert banded.shape == whole.shape
            assert (banded - whole).abs().max() <= 1e-6 * whole.abs().max()
            assert max(seen) <= max(most, narrowest(*images.shape[1:3], backbone.margin_px))
            assert len(seen) > 1


def test_a_smaller_margin_would_not_do():
    """What is furthest away counts least: seen in float64, with weights that cancel nothing."""
    net = backbone_of("E").net.double()
    with torch.no_grad():
        for value in net.parameters():
            value.fill_(1.0 / value[0].numel())

    def trunk(part):
        return net.trunk(part.permute(0, 3, 1, 2).double())

    with torch.inference_mode():
        whole = trunk(WIDE)
        enough, less = (in_bands(trunk, WIDE, most_pixels=1, margin_px=margin) for margin in (128, 128 - CELL_PX))
    assert (enough - whole).abs().max() <= 1e-13 * whole.abs().max()
    assert (less - whole).abs().max() > 1e-10 * whole.abs().max()


def test_margins_are_what_the_convolutions_look_at_rounded_up_to_cells():
    # Net A: 59; D: 2 x 1 + 2 x 2 + 3 x 4 + 3 x 8 + 3 x 16 = 90; E: 118; C's third convolutions see nothing more: 62.
    margins = {name: margin_px(NetSpec(name=name)) for name in ("A", "C", "D", "E", "B-5x5")}
    assert margins == {"A": 64, "C": 64, "D": 96, "E": 128, "B-5x5": 64}


def test_a_small_image_goes_as_it_is():
    calls = []
    in_bands(lambda part: calls.append(part.shape) or part, WIDE, most_pixels=70 * 1013, margin_px=96)
    assert calls == [(2, 70, 1013, 3)]


@pytest.mark.parametrize("layer", ["fc7+relu", "fc6+relu", "pool5"])
@pytest.mark.parametrize("images", LYING_AND_STANDING, ids=["lying", "standing"])
def test_engines_give_the_same_descriptors_in_bands(layer, images):
    backbone = backbone_of("D", layer=layer)
    inputs, widths = backbone.inputs.forward, []
    backbone.inputs.forward = lambda part: widths.append(max(part.shape[1:3])) or inputs(part)
    ncnn = NcnnEngine(backbone.inputs, plain_trunk(backbone.net), backbone.head, backbone.margin_px)
    for engine in (TorchEngine(backbone, "cpu", steps=steps_of(backbone)), ncnn):
        whole = engine.describe(images.numpy(), flip=True)
        assert set(widths) == {1013}
        widths.clear()
        engine.band_pixels = 70 * 400
        banded = engine.describe(images.numpy(), flip=True)
        assert max(widths) <= 400
        widths.clear()
        assert whole.shape == banded.shape == (4, whole.shape[1])
        assert np.abs(banded - whole).max() <= 1e-6 * np.abs(whole).max(), engine.name


def test_bands_are_halved_until_they_are_as_narrow_as_one_cell_and_its_margins():
    backbone = backbone_of("A")
    ncnn = NcnnEngine(backbone.inputs, plain_trunk(backbone.net), backbone.head, backbone.margin_px)
    for engine in (TorchEngine(backbone, "cpu", steps=steps_of(backbone)), ncnn):
        found = []
        while engine.narrower(70, 1013):
            found.append(engine.band_pixels)
        assert found == [35455, 17727, 8863]  # 70 x 160 = 11,200 px is the narrowest
    assert TorchEngine(backbone, "cpu").narrower(70, 1013) is False


@pytest.mark.parametrize("layer", ["fc7+relu", "fc6+relu"])
@pytest.mark.parametrize("crop", [64, 224])
@pytest.mark.parametrize("standing", [False, True])
def test_positions_in_strips_have_the_same_mean(monkeypatch, layer, crop, standing):
    net = VGG(NetSpec(name="A", width=1 / 16, crop=crop, n_classes=5))
    initialise(net, "glorot", 2)
    made = head.Head(net, layer)
    maps = torch.rand(3, 32, 11, 60, generator=torch.Generator().manual_seed(0))
    maps = maps.transpose(2, 3).contiguous() if standing else maps
    with torch.inference_mode():
        whole = made(maps)
        rows = []
        monkeypatch.setattr(made, "_rows", lambda part, rows_of=made._rows: rows.append(rows_of(part)) or rows[-1])
        for most in (1, 37, 100):
            rows.clear()
            monkeypatch.setattr(head, "WINDOWS_BYTES", most * 32 * (crop // 32) ** 2 * 4)
            in_strips = made(maps)
            assert (in_strips - whole).abs().max() <= 1e-6 * whole.abs().max()
            n_short = 11 - crop // 32 + 1
            assert max(part.shape[1] for part in rows) <= max(most, n_short)
            assert len(rows) > 3
