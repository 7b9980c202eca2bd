import numpy as np
import pytest
import torch

from transferbench.nets.masks import masked, splitmix64
from transferbench.nets.modules import VGG, initialise
from transferbench.types.net import NetSpec

ONES = torch.ones(64, 512)
DRAWS = torch.arange(64) + (3 << 32)


def splitmix64_by_numpy(numbers):
    """The same function in unsigned arithmetic, as its authors wrote it."""
    with np.errstate(over="ignore"):
        x = numbers.copy()
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def test_the_mixing_function_is_that_of_splitmix64():
    numbers = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    ours = splitmix64(torch.from_numpy(numbers.view(np.int64))).numpy().view(np.uint64)
    assert (ours == splitmix64_by_numpy(numbers)).all()
    # First output of the generator with seed 1234567, published with its reference implementation.
    golden = np.uint64((1234567 + 0x9E3779B97F4A7C15) % 2**64)
    assert int(splitmix64_by_numpy(np.array([golden]))[0]) == 6457827717110365317


@pytest.mark.parametrize("dropout", [0.5, 0.2])
def test_so_many_units_are_dropped_and_the_mean_stays(dropout):
    x = masked(ONES, DRAWS, 0, dropout)
    assert sorted(x.unique().tolist()) == pytest.approx([0.0, 1 / (1 - dropout)])
    share = float((x == 0).float().mean())
    assert share == pytest.approx(dropout, abs=4 * (dropout * (1 - dropout) / x.numel()) ** 0.5)


def test_masks_of_images_layers_and_neighbouring_units_have_nothing_in_common():
    one, other = (masked(ONES, DRAWS, layer, 0.5).numpy() > 0 for layer in (0, 1))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02  # standard deviation 0.0055
    images = np.corrcoef(one)[~np.eye(64, dtype=bool)]
    assert abs(images).max() < 0.25  # 0.044 each, 2016 pairs
    assert abs(np.corrcoef(one[:, 1:].ravel(), one[:, :-1].ravel())[0, 1]) < 0.02


def test_a_mask_belongs_to_the_image_not_to_its_place_in_the_batch():
    whole = masked(ONES, DRAWS, 0, 0.5)
    assert torch.equal(masked(ONES[:10], DRAWS[20:30], 0, 0.5), whole[20:30])


def test_a_net_takes_its_masks_from_the_draws_only_while_it_is_trained():
    net = VGG(NetSpec(name="A", width=1 / 64, crop=32, n_classes=3))
    initialise(net, "glorot", 0)
    crops = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    draws = torch.arange(4)
    net.train()
    one = net(crops, draws)
    torch.manual_seed(5)
    assert torch.equal(one, net(crops, draws))
    assert torch.allclose(one[2:], net(crops[2:], draws[2:]), atol=1e-6)
    assert not torch.equal(one, net(crops, draws + 1))
    net.eval()
    assert torch.equal(net(crops, draws), net(crops))


@pytest.mark.parametrize("draws", [torch.arange(4), None], ids=["image", "stream"])
def test_units_of_fc6_and_fc7_are_dropped_after_their_rectification_and_no_others(draws):
    net = VGG(NetSpec(name="A", width=1 / 64, crop=32, n_classes=3), dropout=0.4)
    initialise(net, "glorot", 0)
    net.train()
    crops = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def dropped(x, number):
        return torch.nn.functional.dropout(x, 0.4) if draws is None else masked(x, draws, number, 0.4)

    torch.manual_seed(9)
    found = net(crops, draws)
    torch.manual_seed(9)
    x = net.trunk(crops)
    x = dropped(net.fc6(x).relu().flatten(1), 0)
    x = dropped(net.fc7(x[:, :, None, None]).relu().flatten(1), 1)
    assert torch.allclose(found, net.fc8(x[:, :, None, None]).flatten(1), atol=1e-6)
