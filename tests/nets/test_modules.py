import math

import pytest
import timm
import torch

from transferbench.nets import vgg
from transferbench.nets.modules import LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, VGG, initialise
from transferbench.types.net import NetSpec


def random_net(spec, seed=0):
    net = VGG(spec).eval()
    initialise(net, "glorot", seed)
    with torch.no_grad():  # biases of zero would hide a layer that forgets them
        for layer in vgg.weight_layers(spec):
            net.get_parameter(f"{layer.name}.bias").normal_(std=0.1, generator=torch.Generator().manual_seed(seed))
    return net


def images(n, height, width, seed=1):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 255 - 110


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.fixture(scope="module")
def full_d():
    """Net D at the paper's size: 553 MB."""
    return random_net(NetSpec(name="D", pool_rounding="floor"))


@pytest.mark.parametrize("name", list(vgg.TABLE_1))
def test_dense_on_a_crop_equals_fully_connected(name):
    net = random_net(NetSpec(name=name, width=1 / 16, n_classes=10))
    with torch.inference_mode():
        assert relative(net.dense_scores(images(2, 224, 224)), net(images(2, 224, 224))) < 1e-5


def test_dense_on_a_crop_equals_fully_connected_for_d_at_full_width(full_d):
    with torch.inference_mode():
        assert relative(full_d.dense_scores(images(1, 224, 224)), full_d(images(1, 224, 224))) < 1e-5


@pytest.mark.parametrize(("height", "width"), [(224, 224), (256, 341), (384, 256)])
def test_descriptors_of_d_equal_those_of_timm(full_d, height, width):
    theirs = timm.create_model("vgg16", pretrained=False, num_classes=0).eval()
    ours = full_d.state_dict()
    # timm numbers its layers as torchvision does; both lists are in the order of Table 1.
    convs = [f"features.{i}" for i, layer in enumerate(theirs.features) if isinstance(layer, torch.nn.Conv2d)]
    names = dict(
        zip(
            (layer.name for layer in vgg.weight_layers(full_d.spec)),
            [*convs, "pre_logits.fc1", "pre_logits.fc2"],
            strict=False,
        )
    )
    theirs.load_state_dict(
        {f"{names[n]}.{kind}": ours[f"{n}.{kind}"] for n in names for kind in ("weight", "bias")}, assign=True
    )
    x = images(1, height, width)
    with torch.inference_mode():
        expected = theirs.forward_head(theirs.forward_features(x), pre_logits=True).flatten(1)
        assert relative(full_d.describe(x), expected) < 1e-5


# Side of the image -> cells of the fc map, with pooling rounded up and down (a column of 2 x 2 poolings by hand).
@pytest.mark.parametrize(
    ("side", "ceil", "floor"),
    [
        (224, 1, 1),
        (256, 2, 2),
        (288, 3, 3),
        (341, 5, 4),
        (352, 5, 5),
        (384, 6, 6),
        (416, 7, 7),
        (500, 10, 9),
        (512, 10, 10),
        (666, 15, 14),
        (682, 16, 15),
    ],
)
def test_the_dense_map_has_the_size_that_caffe_and_torchvision_give(side, ceil, floor):
    for rounding, cells in (("ceil", ceil), ("floor", floor)):
        with torch.device("meta"):
            net = VGG(NetSpec(name="A", width=1 / 64, pool_rounding=rounding)).eval()
            assert net.dense_fc7(torch.empty(1, 3, 224, side)).shape[2:] == (1, cells)


def test_the_descriptor_is_the_mean_of_rectified_fc7():
    net = random_net(NetSpec(name="B", width=1 / 32, crop=64))
    x = images(2, 96, 128)
    with torch.inference_mode():
        cells = net.dense_fc7(x)
        assert cells.shape == (2, 128, 2, 3)
        assert float(cells.min()) >= 0
        assert torch.equal(net.describe(x), cells.mean(dim=(2, 3)))


def test_scores_average_before_the_soft_max():
    net = random_net(NetSpec(name="A", width=1 / 32, crop=32, n_classes=5))
    x = images(1, 64, 96)
    with torch.inference_mode():
        mapped = net.fc8(net.dense_fc7(x))
        assert torch.allclose(net.dense_scores(x), mapped.mean(dim=(2, 3)))


def test_another_size_of_crop_is_refused_by_the_fully_connected_form():
    with torch.inference_mode(), pytest.raises(RuntimeError):
        random_net(NetSpec(name="A", width=1 / 32, crop=32, n_classes=5))(images(1, 64, 64))


def test_lrn_is_krizhevskys():
    # b = a / (2 + 1e-4 * sum of squares of five neighbouring channels) ** 0.75, worked out by hand.
    a = images(1, 4, 4, seed=2).abs().repeat(1, 3, 1, 1)
    squares = torch.nn.functional.pad(a**2, (0, 0, 0, 0, 2, 2))
    neighbours = sum(squares[:, k : k + a.shape[1]] for k in range(5))
    expected = a / (2 + 1e-4 * neighbours) ** 0.75
    assert torch.allclose(
        torch.nn.functional.local_response_norm(a, LRN_SIZE, alpha=LRN_ALPHA, beta=LRN_BETA, k=LRN_K),
        expected,
        rtol=1e-5,
    )


def test_lrn_changes_net_a():
    a, lrn = (random_net(NetSpec(name=name, width=1 / 16, crop=64)) for name in ("A", "A-LRN"))
    lrn.load_state_dict(a.state_dict())
    with torch.inference_mode():
        assert relative(lrn.describe(images(1, 64, 64)), a.describe(images(1, 64, 64))) > 0.1


@pytest.mark.parametrize("name", ["fc6", "fc7", "conv3_2"])
def test_glorot_has_the_variance_of_a_matrix_for_fully_connected_layers(name):
    spec = NetSpec(name="A", width=1 / 8, n_classes=10)
    net = VGG(spec)
    initialise(net, "glorot", 0)
    layer = next(layer for layer in vgg.weight_layers(spec) if layer.name == name)
    cells = layer.kernel**2
    fan_in, fan_out = layer.inputs * cells, layer.outputs * (1 if name.startswith("fc") else cells)
    weight = net.get_parameter(f"{name}.weight").detach()
    assert float(weight.std()) == pytest.approx(math.sqrt(2 / (fan_in + fan_out)), rel=0.02)
    # Uniform, as Glorot & Bengio have it (their equation 16): no weight lies beyond the square root of 6 / (in + out).
    limit = math.sqrt(6 / (fan_in + fan_out))
    assert 0.99 * limit < float(weight.abs().max()) <= limit


def test_normal_initialisation_has_the_stated_deviation_and_zero_biases():
    net = VGG(NetSpec(name="A", width=1 / 8, n_classes=10))
    initialise(net, "normal", 0)
    assert float(net.fc7.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    assert not any(p.any() for n, p in net.named_parameters() if n.endswith("bias"))


@pytest.mark.parametrize(("scheme", "gain"), [("normal", 6.2e-6), ("literal", 6.2e5)])
def test_the_gain_of_net_a_shows_which_deviation_can_be_trained(scheme, gain):
    """From the spread of the input to that of fc8: each ReLU halves the mean square, each layer adds up its inputs."""
    slim = VGG(NetSpec(name="A", width=1 / 8, n_classes=10))
    initialise(slim, scheme, 0)
    found = 1.0
    for number, layer in enumerate(vgg.weight_layers(NetSpec(name="A"))):
        mean_square = float(slim.get_parameter(f"{layer.name}.weight").detach().square().mean())
        inputs = layer.inputs * layer.kernel**2
        found *= math.sqrt(mean_square * (inputs if number == 0 else inputs / 2))
    assert found == pytest.approx(gain, rel=0.1)


def test_initialisation_depends_on_its_seed_alone():
    states = []
    for global_seed, seed in ((1, 0), (2, 0), (3, 1)):
        torch.manual_seed(global_seed)
        net = VGG(NetSpec(name="A", width=1 / 64, crop=32, n_classes=10))
        initialise(net, "glorot", seed)
        states.append(net.fc6.weight.clone())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_dropout_works_only_in_training():
    net = random_net(NetSpec(name="A", width=1 / 16, crop=32, n_classes=10))
    x = images(2, 32, 32)
    with torch.no_grad():
        net.train()
        assert not torch.equal(net(x), net(x))
        net.eval()
        assert torch.equal(net(x), net(x))
