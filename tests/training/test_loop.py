import csv
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from transferbench.errors import TrainingError
from transferbench.progress import Silent
from transferbench.training.checkpoint import newest_checkpoint, save_checkpoint
from transferbench.training.loop import TrainingOptions, held_out_accuracy, train

OPTIONS = TrainingOptions(
    crop=8,
    flip=True,
    epochs=4,
    batch_size=8,
    learning_rate=0.05,
    drop_after=(3,),
    momentum=0.9,
    weight_decay=5e-4,
    seed=0,
)


class Blobs:
    """Dark images of class 0, bright ones of class 1."""

    def __init__(self, n, seed):
        random = np.random.default_rng(seed)
        self.labels = random.integers(0, 2, n)
        self._images = [random.integers(0, 120, (10, 9, 3), dtype=np.uint8) + np.uint8(130 * k) for k in self.labels]

    def __len__(self):
        return len(self._images)

    def __getitem__(self, index):
        return self._images[index]


class Net(nn.Module):
    """Small, with dropout: resuming must restore the random state too."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))

    def forward(self, crops):
        return self.layers(crops.float() / 255 - 0.5)


class Stopping(Silent):
    """Interrupts at a step, as Ctrl-C would."""

    def __init__(self, at_step):
        self.left, self.said = at_step, []

    def say(self, line):
        self.said.append(line)

    @contextmanager
    def task(self, description, total, *, done=0):
        outer = self

        class Task:
            def advance(self, n=1, note=""):
                outer.left -= n
                if outer.left == 0:
                    raise KeyboardInterrupt

        yield Task()


def run(folder, options=OPTIONS, progress=None, net=None):
    net = net or Net()
    history = train(
        net, Blobs(44, 1), Blobs(20, 2), options, folder=folder, device="cpu", progress=progress or Silent()
    )
    return net, history


def test_it_learns(tmp_path):
    _, history = run(tmp_path)
    assert [line.epoch for line in history] == [1, 2, 3, 4]
    assert history[-1].accuracy == 1.0
    assert history[-1].loss < history[0].loss
    assert [line.learning_rate for line in history] == pytest.approx([0.05, 0.05, 0.05, 0.005])


def test_one_step_is_sgd_with_momentum_and_decay_as_torch_does_it_by_hand(tmp_path):
    options = replace(OPTIONS, epochs=1, batch_size=44, momentum=0.0, flip=False)

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.full((2, 192), 0.01))

        def forward(self, crops):
            return crops.float().flatten(1) / 255 @ self.weight.T

    class Fixed(Blobs):
        def __getitem__(self, index):
            return self._images[index][:8, :8]

    images = Fixed(44, 1)
    net = Linear()
    train(net, images, images, options, folder=tmp_path, device="cpu", progress=Silent())
    # Gradient of the mean cross-entropy of a linear classifier: (p - y)' x / n, plus the decay.
    x = np.stack([images[i] for i in range(44)]).reshape(44, -1) / 255
    p = np.full((44, 2), 0.5)
    gradient = (p - np.eye(2)[images.labels]).T @ x / 44 + 5e-4 * 0.01
    assert np.allclose(net.weight.detach().numpy(), 0.01 - 0.05 * gradient, atol=1e-6)


@pytest.mark.parametrize("step", [1, 6, 7, 13, 24])
def test_a_run_that_was_interrupted_ends_with_the_same_bits(tmp_path, step):
    whole, history = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", progress=Stopping(step))
    torch.manual_seed(123)
    resumed, history_of_parts = run(tmp_path / "parts")
    assert history_of_parts == history
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_a_finished_run_is_not_trained_further(tmp_path):
    first, _ = run(tmp_path)
    again, _ = run(tmp_path, progress=Stopping(1))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))


def test_metrics_are_a_plain_table(tmp_path):
    _, history = run(tmp_path)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == [line.accuracy for line in history]


def test_only_the_newest_checkpoints_stay(tmp_path):
    run(tmp_path)
    assert [path.name for path in sorted(tmp_path.glob("*.pt"))] == ["checkpoint-00003.pt", "checkpoint-00004.pt"]


def test_a_damaged_checkpoint_is_passed_over_and_said(tmp_path):
    whole, _ = run(tmp_path / "whole")
    run(tmp_path / "parts")
    newest = tmp_path / "parts" / "checkpoint-00004.pt"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    progress = Stopping(-1)
    resumed, _ = run(tmp_path / "parts", progress=progress)
    assert progress.said[0] == f"{newest} is damaged; going back to the checkpoint before it"
    assert "resuming after epoch 3" in progress.said[1]
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_nothing_but_damaged_checkpoints_is_an_error(tmp_path):
    run(tmp_path)
    for path in tmp_path.glob("*.pt"):
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(TrainingError, match=r"every checkpoint in .* is damaged. Delete that folder"):
        run(tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    save_checkpoint(tmp_path, 1, {"net": Evil()})
    with pytest.raises(TrainingError):
        newest_checkpoint(tmp_path, Silent())
    assert not (tmp_path / "made").exists()


def test_a_loss_that_is_not_finite_stops_with_step_and_place(tmp_path):
    with pytest.raises(
        TrainingError,
        match=rf"loss became (nan|inf) in epoch 1, step \d of 6, at learning rate 1e\+30[\s\S]*{tmp_path}[\s\S]*Lower learning_rate",
    ):
        run(tmp_path, replace(OPTIONS, learning_rate=1e30))


def test_held_out_accuracy_counts_every_image_once():
    images = Blobs(21, 3)

    class Zero(nn.Module):
        def forward(self, crops):
            return torch.tensor([[1.0, 0.0]]).repeat(len(crops), 1)

    assert held_out_accuracy(Zero(), images, OPTIONS, "cpu") == pytest.approx(float((images.labels == 0).mean()))
