"""Costs by arithmetic, against what torch counts while it runs the net."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from transferbench.nets.costs import dense_macs, descriptor_dimensions
from transferbench.nets.inputs import DenseBackbone
from transferbench.nets.modules import VGG
from transferbench.nets.vgg import crop_macs
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing


@pytest.mark.parametrize("rounding", ["ceil", "floor"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (95, 70), (131, 97)])
@pytest.mark.parametrize(("layer", "name"), [("fc7+relu", "A"), ("fc6+relu", "E"), ("pool5", "C")])
def test_operations_are_those_that_torch_counts(rounding, width, height, layer, name):
    spec = NetSpec(name=name, width=0.125, crop=64, pool_rounding=rounding)
    net = DenseBackbone(VGG(spec, dropout=0.0).eval(), Preprocessing(), layer=layer)
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        rows = net(torch.zeros(1, height, width, 3, dtype=torch.uint8))
    assert counted.get_total_flops() == 2 * dense_macs(spec, width, height, layer=layer)
    assert rows.shape[1] == descriptor_dimensions(spec, layer)


@pytest.mark.parametrize("name", ["A", "D", "E"])
def test_a_crop_costs_what_it_costs_in_training_but_for_the_last_layer(name):
    spec = NetSpec(name=name)
    assert dense_macs(spec, 224, 224) == crop_macs(spec) - 4096 * 1000


def test_an_image_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="has no position"):
        dense_macs(NetSpec(name="D"), 500, 192)
