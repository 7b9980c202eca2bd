from dataclasses import replace

import numpy as np
import pytest
import torch

from transferbench.nets.fingerprint import fingerprint, sample_descriptor, sample_image
from transferbench.types.net import NetSpec


@pytest.fixture(scope="module")
def weights(foreign, state):
    return foreign.weights_of(state)


def test_the_test_image_is_none_of_its_own_reflections():
    image = sample_image(64, 64).astype(int)
    assert image.shape == (64, 64, 3)
    assert [image[1, 2, c] for c in range(3)] == [12, 3, 51]  # 5x+2y, xy//7+3y, x²//9+11y+40 at x=2, y=1
    others = [image[::-1], image[:, ::-1], image.transpose(1, 0, 2), image[..., ::-1], image[..., [1, 0, 2]]]
    assert all((image != other).mean() > 0.5 for other in others)


@pytest.mark.parametrize(
    "change",
    [
        {"channel_order": "BGR"},
        {"value_range": 1.0},
        {"mean": (123.675, 116.28, 103.53)},
        {"std": (58.395, 57.12, 57.375)},
    ],
)
def test_every_input_convention_has_another_fingerprint(weights, change):
    header = replace(weights.header, preprocessing=replace(weights.header.preprocessing, **change))
    assert fingerprint(replace(weights, header=header)) != fingerprint(weights)


@pytest.mark.parametrize("crop", [64, 224])
def test_the_rounding_of_pooling_has_another_fingerprint(foreign, crop):
    spec = NetSpec(name="A", width=1 / 64, crop=crop, n_classes=4)
    prints = []
    for rounding in ("ceil", "floor"):
        rounded = replace(spec, pool_rounding=rounding)
        prints.append(fingerprint(foreign.weights_of(foreign.state_of(rounded), rounded)))
    assert prints[0] != prints[1]


@pytest.mark.parametrize("name", ["conv1_1.weight", "conv4_2.bias", "fc6.weight", "fc7.bias"])
def test_one_small_change_of_a_weight_shows(foreign, state, weights, name):
    changed = {**state, name: state[name] * np.float32(1.001)}
    assert fingerprint(foreign.weights_of(changed)) != fingerprint(weights)


@pytest.mark.filterwarnings("ignore:TF32")
def test_the_way_of_computing_does_not_show(weights):
    """Threads and libraries change the order of sums; that must not reach the hash."""
    expected, row = fingerprint(weights), sample_descriptor(weights)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert fingerprint(weights) == expected
    finally:
        torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=False):
        assert fingerprint(weights) == expected
        # Room for a million times more error than float64 has between two ways of summing.
        assert np.abs(sample_descriptor(weights) - row).max() < 1e-12 * row.max()


def test_the_net_on_the_image_is_what_is_hashed(foreign, state, weights):
    """The oracle is torch's functional form, written out in float64."""
    import torch.nn.functional as F

    image = torch.from_numpy(sample_image(64, 104)).double().permute(2, 0, 1)[None]
    x = image - torch.tensor([123.68, 116.779, 103.939], dtype=torch.float64).view(1, 3, 1, 1)
    tensors = {key: torch.from_numpy(array).double() for key, array in state.items()}
    for block, count in enumerate((2, 2, 3, 3, 3), 1):
        for n in range(1, count + 1):
            x = F.relu(F.conv2d(x, tensors[f"conv{block}_{n}.weight"], tensors[f"conv{block}_{n}.bias"], padding=1))
        x = F.max_pool2d(x, 2, 2, ceil_mode=True)
    for name in ("fc6", "fc7"):
        x = F.relu(F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"]))
    expected = x.mean(dim=(2, 3))[0].numpy()
    assert x.shape[2:] == (1, 3)
    # The program subtracts the mean in float32.
    assert np.abs(sample_descriptor(weights) - expected).max() < 1e-6 * expected.max()
