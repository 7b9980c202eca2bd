import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from transferbench.nets import vgg
from transferbench.nets.modules import VGG
from transferbench.types.net import NetSpec

# Table 2 gives millions; the exact totals follow from Table 1 by hand (weights + biases).
EXACT = {
    "A": 132_863_336,
    "A-LRN": 132_863_336,
    "B": 133_047_848,
    "C": 133_638_952,
    "D": 138_357_544,
    "E": 143_667_240,
    "B-5x5": 134_503_528,
}
TABLE_2 = {"A": 133, "A-LRN": 133, "B": 133, "C": 134, "D": 138, "E": 144}
WEIGHT_LAYERS = {"A": 11, "A-LRN": 11, "B": 13, "C": 16, "D": 16, "E": 19, "B-5x5": 8}
TORCHVISION = {"A": "vgg11", "B": "vgg13", "D": "vgg16", "E": "vgg19"}

names = pytest.mark.parametrize("name", list(vgg.TABLE_1))


@names
def test_parameters_are_exact_and_those_of_table_2(name):
    count = vgg.n_parameters(NetSpec(name=name))
    assert count == EXACT[name]
    assert name not in TABLE_2 or round(count / 1e6) == TABLE_2[name]


@names
def test_weight_layers_are_those_of_table_1(name):
    assert len(vgg.weight_layers(NetSpec(name=name))) == WEIGHT_LAYERS[name]


@pytest.mark.parametrize(("name", "theirs"), TORCHVISION.items())
def test_parameters_agree_with_torchvision(name, theirs):
    weights = torchvision.models.get_model_weights(theirs).IMAGENET1K_V1
    assert vgg.n_parameters(NetSpec(name=name)) == weights.meta["num_params"]


@names
def test_the_module_has_these_parameters_and_operations(name):
    spec = NetSpec(name=name)
    with torch.device("meta"):
        net = VGG(spec).eval()
        crop = torch.empty(1, 3, 224, 224)
    assert sum(p.numel() for p in net.parameters()) == vgg.n_parameters(spec)
    with FlopCounterMode(display=False) as counter:
        net(crop)
    assert counter.get_total_flops() == 2 * vgg.crop_macs(spec)


def test_a_slim_net_has_slim_layers():
    spec = NetSpec(name="C", width=1 / 16, crop=64, n_classes=10)
    shapes = [(layer.name, layer.kernel, layer.inputs, layer.outputs) for layer in vgg.weight_layers(spec)]
    assert shapes[0] == ("conv1_1", 3, 3, 4)
    assert ("conv3_3", 1, 16, 16) in shapes
    assert shapes[-3:] == [("fc6", 2, 32, 256), ("fc7", 1, 256, 256), ("fc8", 1, 256, 10)]


def test_only_net_c_has_small_kernels_and_they_are_not_padded():
    small = {
        name: [
            layer
            for layer in vgg.weight_layers(NetSpec(name=name))
            if layer.kernel == 1 and layer.name.startswith("conv")
        ]
        for name in vgg.TABLE_1
    }
    assert {name for name, layers in small.items() if layers} == {"C"}
    assert all(layer.padding == 0 for layer in small["C"])


def test_only_a_lrn_normalises_and_only_once():
    marked = [
        (name, layer.name) for name in vgg.TABLE_1 for layer in vgg.weight_layers(NetSpec(name=name)) if layer.lrn
    ]
    assert marked == [("A-LRN", "conv1_1")]
