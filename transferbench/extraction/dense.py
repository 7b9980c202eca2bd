"""One scale of one shard: images of equal size are batched together with their mirror images."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

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
    for batch in cut:
        images = np.stack([next(loaded) for _ in batch])
        described = _in_pieces(engine, np.concatenate([images, images[:, :, ::-1]]) if flip else images, warn)
        if flip:
            described = (described[: len(batch)] + described[len(batch) :]) * np.float32(0.5)
        rows.update(zip(batch, described, strict=True))
        done(len(batch))
    return np.stack([rows[position] for position in range(len(sizes))])


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


def _in_pieces(engine: Engine, images: UInt8, warn: Callable[[str], None]) -> Float32:
    """Describe images, as many at a time as fit; the first that do not fit halve the engine's batches for good."""
    n_pixels = images.shape[1] * images.shape[2]
    length = max(1, engine.batch_pixels // n_pixels)
    if len(images) > length:
        return np.concatenate([_in_pieces(engine, part, warn) for part in _cut(images, length)])
    try:
        return engine.describe(images)
    except MemoryError as problem:
        if len(images) == 1:
            msg = (
                f"an image of {images.shape[2]} x {images.shape[1]} px does not fit into the memory of "
                f"{engine.device}.\n"
                "  Leave out that scale, or use another --device or --engine."
            )
            raise DeviceError(msg) from problem
        engine.batch_pixels = len(images) // 2 * n_pixels
        warn(
            f"out of memory with {len(images)} images of {images.shape[2]} x {images.shape[1]} px at a time; "
            f"going on with batches of {engine.batch_pixels:,} px"
        )
    return _in_pieces(engine, images, warn)


def _cut(images: UInt8, length: int) -> list[UInt8]:
    return [images[start : start + length] for start in range(0, len(images), length)]
