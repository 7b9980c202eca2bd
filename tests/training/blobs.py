"""A small problem for tests of the loop: images in memory, and a net with dropout of both kinds."""

import numpy as np
import torch
from torch import nn

from transferbench.nets.masks import masked
from transferbench.training.augment import generator
from transferbench.training.batch import Batch
from transferbench.training.options import Execution, TrainingOptions

SIDE = 8


def options(**values):
    from transferbench.pretraining import Steps

    given = {
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": 0.05,
        "schedule": Steps(kind="steps", drops=(0.75,)),
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "seed": 0,
    }
    return TrainingOptions(**(given | values))


def execution(folder, **values):
    return Execution(folder=folder, device="cpu", **values)


class Blobs:
    """Dark images of class 0, bright ones of class 1."""

    def __init__(self, n, seed, *, shift=0.0):
        random = np.random.default_rng(seed)
        self.labels = random.integers(0, 2, n)
        self.images = [random.integers(0, 120, (10, 9, 3), dtype=np.uint8) + np.uint8(130 * k) for k in self.labels]
        self.shift = shift
        self.visits = []

    def __len__(self):
        return len(self.images)

    def batches(self, batches, epoch):
        for rows in batches:
            self.visits += [(epoch, int(row)) for row in rows]
            yield Batch(
                crops=torch.from_numpy(np.stack([self._crop(int(row), epoch) for row in rows])),
                shifts=torch.full((len(rows), 3), self.shift),
                labels=torch.from_numpy(self.labels[rows]),
                rows=torch.from_numpy(np.asarray(rows)),
            )

    def _crop(self, row, epoch):
        top, left = (1, 0) if epoch is None else generator(0, epoch, row).integers(0, (3, 2))
        return self.images[row][top : top + SIDE, left : left + SIDE]


class Net(nn.Module):
    """Small, with dropout: by image where there are draws, from the stream of the process otherwise."""

    def __init__(self, dropout=0.5):
        super().__init__()
        torch.manual_seed(7)
        self.dropout = dropout
        self.first, self.last = nn.Linear(192, 16), nn.Linear(16, 2)

    def forward(self, crops, shifts=None, draws=None):
        x = crops.float() if shifts is None else crops.float() + shifts[:, None, None, :]
        x = self.first((x / 255 - 0.5).flatten(1)).relu()
        if draws is not None and self.training and self.dropout:
            x = masked(x, draws, 0, self.dropout)
        elif draws is None:
            x = nn.functional.dropout(x, self.dropout, self.training)
        return self.last(x)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
