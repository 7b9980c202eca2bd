"""Steps of the descent against the formulas, worked out in numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.blobs import Blobs, Net, execution, options
from transferbench.training.batch import Batch
from transferbench.training.descent import Descent
from transferbench.training.order import draws, parts_of_step, steps_of_epoch
from transferbench.training.processes import Processes


class Linear(nn.Module):
    """A linear classifier of four grey levels: its gradient is known."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-0.2, 0.2, 12, dtype=torch.float64).view(3, 4))
        self.bias = nn.Parameter(torch.tensor([0.1, 0.0, -0.1], dtype=torch.float64))

    def forward(self, crops, shifts, draws):
        x = crops.double() + shifts[:, None, None, :]
        return x.flatten(1)[:, :4] @ self.weight.T + self.bias


TOLERANCE = 2e-8  # the loss is summed in float32; every mistake of the rules is larger than 1e-5
RANDOM = np.random.default_rng(0)
CROPS = RANDOM.integers(0, 3, (6, 2, 2, 3), dtype=np.uint8)
LABELS = RANDOM.integers(0, 3, 6)
SHIFTS = RANDOM.normal(size=(6, 3)).astype(np.float32)


def batch(rows=slice(None)):
    rows = np.arange(6)[rows]
    return Batch(
        crops=torch.from_numpy(CROPS[rows]),
        shifts=torch.from_numpy(SHIFTS[rows]),
        labels=torch.from_numpy(LABELS[rows]),
        rows=torch.from_numpy(rows),
    )


def gradient_by_hand(weight, bias, smoothing=0.0):
    x = (CROPS + SHIFTS[:, None, None, :].astype(float)).reshape(6, -1)[:, :4]
    scores = x @ weight.T + bias
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    target = np.eye(3)[LABELS] * (1 - smoothing) + smoothing / 3
    return (p - target).T @ x / 6, (p - target).mean(axis=0)


def descended(steps, parts=None, **values):
    net = Linear()
    descent = Descent(net, options(**values), execution(None), Processes())
    for rate in steps:
        descent.step(parts or [batch()], 6, 0, rate)
    return net.weight.detach().numpy(), net.bias.detach().numpy()


@pytest.mark.parametrize(("bias_rate", "bias_decay"), [(1.0, True), (2.0, False)])
def test_momentum_and_decay_are_those_of_the_lab(bias_rate, bias_decay):
    """V <- mu V + (g + decay w), w <- w - rate V: at a constant rate this is Caffe's V <- mu V + rate (g + decay w)."""
    found = descended([0.01] * 5, weight_decay=0.05, bias_rate=bias_rate, bias_decay=bias_decay)
    net = Linear()
    w, b = net.weight.detach().numpy().copy(), net.bias.detach().numpy().copy()
    caffe_w, caffe_b = np.zeros_like(w), np.zeros_like(b)
    for _ in range(5):
        gw, gb = gradient_by_hand(w, b)
        caffe_w = 0.9 * caffe_w + 0.01 * (gw + 0.05 * w)
        caffe_b = 0.9 * caffe_b + 0.01 * bias_rate * (gb + (0.05 * b if bias_decay else 0))
        w, b = w - caffe_w, b - caffe_b
    assert np.allclose(found[0], w, rtol=0, atol=TOLERANCE)
    assert np.allclose(found[1], b, rtol=0, atol=TOLERANCE)


def test_after_a_drop_the_new_rate_counts_for_the_old_momentum_too():
    found, _ = descended([0.01, 0.001], weight_decay=0.0)
    net = Linear()
    w, b = net.weight.detach().numpy().copy(), net.bias.detach().numpy().copy()
    first = gradient_by_hand(w, b)
    w, b = w - 0.01 * first[0], b - 0.01 * first[1]
    second = gradient_by_hand(w, b)
    assert np.allclose(found, w - 0.001 * (0.9 * first[0] + second[0]), rtol=0, atol=TOLERANCE)


def test_smoothed_labels_have_the_gradient_of_the_smoothed_target():
    net = Linear()
    descent = Descent(net, options(label_smoothing=0.1), execution(None), Processes())
    found = descent.gradient([batch()], 6, 0)
    by_hand = gradient_by_hand(net.weight.detach().numpy(), net.bias.detach().numpy(), smoothing=0.1)
    assert np.allclose(found["weight"], by_hand[0], atol=TOLERANCE)
    assert np.allclose(found["bias"], by_hand[1], atol=TOLERANCE)


@pytest.mark.parametrize("cuts", [[slice(0, 3), slice(3, 6)], [slice(0, 1), slice(1, 6)]])
def test_parts_of_any_size_add_up_to_the_gradient_of_the_whole(cuts):
    whole, _ = descended([0.01] * 3)
    cut, _ = descended([0.01] * 3, parts=[batch(rows) for rows in cuts])
    assert np.allclose(whole, cut, rtol=0, atol=TOLERANCE)


def test_a_moving_average_by_hand():
    net = Linear()
    descent = Descent(net, options(ema=0.8), execution(None), Processes())
    average = None
    for _ in range(4):
        descent.step([batch()], 6, 0, 0.01)
        now = net.weight.detach().numpy().copy()
        average = now if average is None else 0.8 * average + 0.2 * now
    assert np.allclose(descent.result.weight.detach().numpy(), average, atol=TOLERANCE)


def test_the_scale_of_float16s_gradients_is_part_of_the_state():
    data, half = Blobs(8, 1), execution(None, precision="float16")
    first, second = (Descent(Net(), options(), half, Processes()) for _ in range(2))
    for epoch in range(3):
        first.step(list(data.batches([np.arange(8)], epoch)), 8, epoch, 0.01)
    state = first.state()
    assert state["scaler"]["_growth_tracker"] == 3  # steps since the scale was last changed
    second.restore(state | {"scaler": state["scaler"] | {"scale": 32.0}})
    assert (second.state()["scaler"]["scale"], second.state()["scaler"]["_growth_tracker"]) == (32.0, 3)


def test_what_needs_no_gradient_stays(tmp_path):
    net = Net()
    net.first.requires_grad_(False)
    before = net.first.weight.clone()
    descent = Descent(net, options(weight_decay=0.1), execution(None), Processes())
    data = Blobs(8, 1)
    last = net.last.weight.clone()
    descent.step(list(data.batches([np.arange(8)], 0)), 8, 0, 0.1)
    assert torch.equal(net.first.weight, before)
    assert not torch.equal(net.last.weight, last)


def test_dropout_of_an_image_changes_from_epoch_to_epoch_and_with_the_seed():
    rows = torch.arange(5)
    numbers = {(seed, epoch): tuple(draws(seed, epoch, rows).tolist()) for seed in (0, 1) for epoch in (0, 1)}
    assert len({n for found in numbers.values() for n in found}) == 20
    assert numbers[0, 1] == tuple(draws(0, 1, rows).tolist())


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
def test_shares_of_a_step_are_disjoint_and_together_the_batch(world):
    steps = steps_of_epoch(23, 4, 5, 0)
    assert sorted(np.concatenate(steps).tolist()) == list(range(23))
    for batch_of_step in steps:
        parts = [parts_of_step(batch_of_step, Processes(rank, world), 2) for rank in range(world)]
        assert np.concatenate([np.concatenate(p) for p, counted in parts if counted]).tolist() == batch_of_step.tolist()
        assert all(len(part) in {1, 2} for p, _ in parts for part in p)
        # All have to meet in the backward pass, those too that have no image of their own.
        assert all(p for p, _ in parts)
    assert [s.tolist() for s in steps] == [s.tolist() for s in steps_of_epoch(23, 4, 5, 0)]
    assert [s.tolist() for s in steps] != [s.tolist() for s in steps_of_epoch(23, 5, 5, 0)]
