"""Crops from compressed images, decoded in worker processes that work ahead of the net."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from transferbench.errors import TrainingError, TransferbenchError
from transferbench.training.augment import AugmentOptions, Picture, generator, held_out_crop, training_crop
from transferbench.training.batch import Batch
from transferbench.types.arrays import Int64

AHEAD = 2
"""Batches that every worker prepares in advance; they wait in shared memory."""

_Visit = tuple[int | None, Int64]
_Tensors = tuple[Tensor, Tensor, Tensor, Tensor]


class LabelledPictures(Protocol):
    """Images with their classes; may be sent to other processes."""

    @property
    def labels(self) -> Int64:
        """Classes (n,)."""

    def __len__(self) -> int:
        """Return the number of images."""

    def picture(self, row: int) -> Picture:
        """Return one image."""


class LoadedCrops:
    """Labelled images that are visited as crops; which crop depends on seed, epoch and row, and on nothing else.

    Parameters
    ----------
    pictures : LabelledPictures
        The images.
    options : AugmentOptions
        What may vary.
    workers : int
        Processes that decode; 0 decodes in this process, when a batch is asked for.
    pin : bool
        Whether batches are put where a GPU can fetch them by itself.
    """

    def __init__(
        self, pictures: LabelledPictures, options: AugmentOptions, *, workers: int = 0, pin: bool = False
    ) -> None:
        self.labels: Int64 = pictures.labels
        self._visits = _Visits(pictures, options)
        self._workers = workers
        self._pin = pin

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batches: Sequence[Int64], epoch: int | None) -> Iterator[Batch]:
        """Visit images; workers end with the last batch, or when the iterator is closed.

        Parameters
        ----------
        batches : sequence of ndarray of int64
            Rows of each batch, in the order in which the batches are wanted. Sizes may differ.
        epoch : int or None
            From 0. None for the centre crop without any change.

        Yields
        ------
        Batch
            One for every array of rows.

        Raises
        ------
        DatasetError
            If an image is missing or damaged; the message names it.
        TrainingError
            If a worker dies.
        """
        loader: DataLoader[_Tensors | TransferbenchError] = DataLoader(
            self._visits,
            batch_size=None,  # an item is a whole batch already
            sampler=[(epoch, rows) for rows in batches],
            num_workers=min(self._workers, len(batches)),
            prefetch_factor=AHEAD if min(self._workers, len(batches)) else None,
            collate_fn=_unchanged,
            pin_memory=self._pin,
            worker_init_fn=_leave_signals_to_the_parent,
            generator=torch.Generator(),  # else it would draw from the generator of dropout, once per call
        )
        items = iter(loader)
        try:
            while (item := _next(items)) is not None:
                if isinstance(item, TransferbenchError):
                    raise item
                crops, shifts, labels, rows = item
                yield Batch(crops=crops, shifts=shifts, labels=labels, rows=rows)
        finally:
            del items  # ends the workers now, not when the garbage collector comes by


@dataclass(frozen=True, slots=True)
class _Visits(Dataset[_Tensors | TransferbenchError]):
    """Batches by epoch and rows, as the workers of `DataLoader` want them."""

    pictures: LabelledPictures
    options: AugmentOptions

    def __getitem__(self, visit: _Visit) -> _Tensors | TransferbenchError:
        epoch, rows = visit
        side = self.options.crop
        crops = torch.empty(len(rows), side, side, 3, dtype=torch.uint8)
        shifts = torch.zeros(len(rows), 3)
        crops_array, shifts_array = crops.numpy(), shifts.numpy()
        try:
            for k, row in enumerate(map(int, rows)):
                picture = self.pictures.picture(row)
                if epoch is None:
                    crops_array[k] = held_out_crop(picture, self.options)
                else:
                    random = generator(self.options.seed, epoch, row)
                    crops_array[k], shifts_array[k] = training_crop(picture, self.options, random)
        except TransferbenchError as problem:
            return problem  # raised by a worker it would come out wrapped in the worker's traceback
        return crops, shifts, torch.from_numpy(self.pictures.labels[rows]), torch.from_numpy(np.array(rows))


def _unchanged(item: Any) -> Any:
    return item


def _next(items: Iterator[_Tensors | TransferbenchError]) -> _Tensors | TransferbenchError | None:
    try:
        return next(items, None)
    except RuntimeError as problem:
        if "DataLoader worker" not in str(problem):
            raise
        msg = (
            f"a process that loads images has died: {str(problem).splitlines()[0]}\n"
            "  Its usual reasons are too little memory, or too little shared memory (/dev/shm) in a container.\n"
            "  Give the container more (docker run --shm-size), or use fewer --workers; --workers 0 needs none."
        )
        raise TrainingError(msg) from problem


def _leave_signals_to_the_parent(_worker: int) -> None:
    """Ctrl-C goes to every process of a terminal; the parent says what then happens, and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
