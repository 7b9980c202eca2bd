"""One scale of one shard: images of equal size are batched together with their mirror images."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from transferbench.errors import DeviceError
from transferbench.extraction.engine import Engine
from transferbench.types.arrays import Float32, UInt8

Size = tuple[int, int]
Load = Callable[[Iterable[int]], Iterator[UInt8]]


def describe(
    engine: Engine,
    sizes: Sequence[Size],
    load: Load,
    *,
    flip: bool,
    done: Callable[[int], None],
    warn: Callable[[str], None],
) -> Float32:
    """Describe images at one scale.

    Parameters
    ----------
    engine : Engine
        Runs the net.
    sizes : sequence of (width, height)
        Of the rescaled images; at least one.
    load : callable
        Gives the rescaled images of some positions in `sizes`, in that order, as (H, W, 3) bytes; called once, with
        all of them in the order in which they are needed.
    flip : bool
        Whether the descriptor is the mean with that of the mirrored image.
    done : callable
        Told how many images a batch finished.
    warn : callable
        Told when the memory did not suffice for a batch.

    Returns
    -------
    ndarray of shape (len(sizes), D), float32
        In the order of `sizes`. Batches depend on `sizes` and the engine alone, so a repeated call gives the same bits.

    Raises
    ------
    DeviceError
        If a single image does not fit into memory.
    """
    cut = batches(sizes, copies=2 if flip else 1, batch_pixels=engine.batch_pixels)
    loaded = load([position for batch in cut for position in batch])
    rows: dict[int, Float32] = {}

    def finish(batch: _Batch) -> None:
        rows.update(zip(batch.positions, _described(engine, batch, warn), strict=True))
        done(len(batch.positions))

    begun: _Batch | None = None
    for positions in cut:
        batch = _Batch(positions, _together([next(loaded) for _ in positions]), flip=flip)
        batch.start(engine)
        if begun is not None:
            finish(begun)
        begun = batch
        if batch.started is None:  # nothing goes on meanwhile
            finish(batch)
            begun = None
    if begun is not None:
        finish(begun)
    return np.stack([rows[position] for position in range(len(sizes))])


@dataclass(slots=True)
class _Batch:
    """Images of one size; a GPU may be at them already."""

    positions: list[int]
    images: UInt8
    flip: bool
    started: Callable[[], Float32] | None = None

    def start(self, engine: Engine) -> None:
        if len(self.images) * (2 if self.flip else 1) <= _most(engine, self.images):
            with suppress(MemoryError):  # `_described` sees to it
                self.started = engine.start(self.images, flip=self.flip)


def _together(images: list[UInt8]) -> UInt8:
    return images[0][None] if len(images) == 1 else np.stack(images)


def batches(sizes: Sequence[Size], *, copies: int, batch_pixels: int) -> list[list[int]]:
    """Group positions by size, then cut the groups.

    Parameters
    ----------
    sizes : sequence of (width, height)
        Of the images.
    copies : int
        Images that each position adds to a batch.
    batch_pixels : int
        The most pixels of a batch.

    Returns
    -------
    list of list of int
        Every position once; at least one position per batch, at most `batch_pixels` otherwise.
    """
    groups: defaultdict[Size, list[int]] = defaultdict(list)
    for position, size in enumerate(sizes):
        groups[size].append(position)
    result = []
    for (width, height), members in sorted(groups.items()):
        length = max(1, batch_pixels // (width * height * copies))
        result += [members[start : start + length] for start in range(0, len(members), length)]
    return result


def _described(engine: Engine, batch: _Batch, warn: Callable[[str], None]) -> Float32:
    """Describe images, as many at a time as fit; the first that do not fit halve the engine's batches for good."""
    images, flip = batch.images, batch.flip
    most = _most(engine, images)
    while batch.started is not None or len(images) * (2 if flip else 1) <= most:
        try:
            rows = engine.describe(images, flip=flip) if batch.started is None else batch.started()
        except MemoryError as problem:
            batch.started = None
            _make_smaller(engine, images, 2 if flip else 1, warn, problem)
            most = _most(engine, images)
        else:
            return _mean(rows[: len(images)], rows[len(images) :]) if flip else rows
    if len(images) == 1:  # an image and its mirror image are more than a batch
        mirrored = np.ascontiguousarray(images[:, :, ::-1])
        return _mean(*(_described(engine, _Batch([], alone, flip=False), warn) for alone in (images, mirrored)))
    length = max(1, most // 2 if flip else most)
    parts = [images[start : start + length] for start in range(0, len(images), length)]
    return np.concatenate([_described(engine, _Batch([], part, flip=flip), warn) for part in parts])


def _most(engine: Engine, images: UInt8) -> int:
    """Count the images of this size that may go at once, mirror images included."""
    n_pixels: int = images.shape[1] * images.shape[2]
    return max(1, engine.batch_pixels // n_pixels)


def _mean(rows: Float32, mirrored: Float32) -> Float32:
    return (rows + mirrored) * np.float32(0.5)


def _make_smaller(
    engine: Engine, images: UInt8, copies: int, warn: Callable[[str], None], problem: MemoryError
) -> None:
    """Halve the batches, or for a single image the bands; where that is not possible, say so."""
    _, height, width, _ = images.shape
    if (n_images := len(images) * copies) > 1:
        engine.batch_pixels = n_images // 2 * height * width
        smaller = f"batches of {engine.batch_pixels:,} px"
    elif engine.narrower(height, width):
        smaller = f"bands of {engine.band_pixels:,} px"
    else:
        msg = (
            f"an image of {width} x {height} px does not fit into the memory of {engine.device}.\n"
            "  Leave out that scale, or use another --device or --engine."
        )
        raise DeviceError(msg) from problem
    warn(f"out of memory with {n_images} images of {width} x {height} px at a time; going on with {smaller}")
