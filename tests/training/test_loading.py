"""Crops through worker processes: the same whatever their number, each image once, errors by name."""

import os
import signal
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from transferbench.errors import DatasetError, TrainingError
from transferbench.training.augment import AugmentOptions, generator
from transferbench.training.loading import LoadedCrops

N = 23
OPTIONS = AugmentOptions(crop=8, short_sides=(9, 12), flip=True, colour_shift=0.1, seed=3)


class Noise:
    def __init__(self, row):
        self.pixels = np.random.default_rng(row).integers(0, 256, (12, 16, 3), dtype=np.uint8)

    def size_at(self, short_side_px):
        return short_side_px, short_side_px + 4

    def crop(self, short_side_px, top, left, side_px):
        return self.pixels[top : top + side_px, left : left + side_px]


@dataclass
class Pictures:
    bad: int | None = None
    deadly: int | None = None

    def __post_init__(self):
        self.labels = np.arange(N) % 5

    def __len__(self):
        return N

    def picture(self, row):
        if row == self.bad:
            msg = "photo.jpg: is damaged"
            raise DatasetError(msg)
        if row == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return Noise(row)


def batches_of(order, size):
    return [order[start : start + size] for start in range(0, len(order), size)]


def visited(workers, batches, epoch=2, **pictures):
    return list(LoadedCrops(Pictures(**pictures), OPTIONS, workers=workers).batches(batches, epoch))


def by_row(batches):
    return {
        int(row): (crop.numpy().tobytes(), tuple(shift.tolist()), int(label))
        for batch in batches
        for row, crop, shift, label in zip(batch.rows, batch.crops, batch.shifts, batch.labels, strict=True)
    }


ORDER = generator(3, 2, 0xFFFFFFFF).permutation(N)


def test_neither_workers_nor_ranks_nor_the_size_of_batches_change_a_crop():
    whole = by_row(visited(0, batches_of(ORDER, 6)))
    assert sorted(whole) == list(range(N))
    assert by_row(visited(2, batches_of(ORDER, 6))) == whole
    assert by_row(visited(0, batches_of(ORDER[::-1], 1))) == whole
    ranks = [visited(1, batches_of(ORDER[rank::2], 4)) for rank in range(2)]
    assert by_row(ranks[0]) | by_row(ranks[1]) == whole
    assert sum(len(batch.rows) for batch in (*ranks[0], *ranks[1])) == N


def test_batches_come_in_the_order_in_which_they_were_asked_for():
    wanted = batches_of(ORDER, 2)
    for workers in (0, 2):
        found = visited(workers, wanted)
        assert [batch.rows.tolist() for batch in found] == [rows.tolist() for rows in wanted]
        assert all((batch.labels.numpy() == rows % 5).all() for batch, rows in zip(found, wanted, strict=True))


def test_another_epoch_is_another_visit():
    first, second = by_row(visited(0, [ORDER], 0)), by_row(visited(0, [ORDER], 1))
    assert all(first[row][1] != second[row][1] for row in range(N))


def test_held_out_crops_are_central_and_unchanged():
    (batch,) = visited(0, [np.arange(N)], None)
    assert not batch.shifts.any()
    assert (batch.crops[4].numpy() == Noise(4).pixels[1:9, 3:11]).all()  # S = 10: (10 - 8) // 2 and (14 - 8) // 2


def test_bytes_travel_not_floats():
    (batch,) = visited(1, [ORDER])
    assert batch.crops.dtype == torch.uint8
    assert batch.crops.shape == (N, 8, 8, 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_the_generator_of_dropout_alone(workers):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    visited(workers, batches_of(ORDER, 6))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_told_as_it_is_not_as_a_traceback_of_a_worker(workers):
    with pytest.raises(DatasetError) as problem:
        visited(workers, batches_of(ORDER, 6), bad=7)
    assert str(problem.value) == "photo.jpg: is damaged"


def test_a_worker_that_is_killed_is_explained():
    with pytest.raises(TrainingError, match="a process that loads images has died.*\n.*shared memory"):
        visited(1, [np.array([0, 1])], deadly=1)


def test_an_abandoned_epoch_leaves_no_worker_behind():
    import multiprocessing

    crops = LoadedCrops(Pictures(), OPTIONS, workers=2)
    iterator = crops.batches(batches_of(ORDER, 3), 0)
    next(iterator)
    assert len(multiprocessing.active_children()) == 2
    iterator.close()
    assert not multiprocessing.active_children()
    assert len(by_row(crops.batches(batches_of(ORDER, 3), 0))) == N
