"""One scale of one shard: images of equal size are batched together with their mirror images."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from transferbench.extraction.engine import Engine
from transferbench.types import Float32, UInt8

BATCH_PIXELS = 1 << 20
"""Pixels of one batch, mirror images included: 64 images of 128 px, or one of 1024 x 1024."""

Size = tuple[int, int]


def describe(
    engine: Engine, sizes: Sequence[Size], load: Callable[[int], UInt8], *, flip: bool, done: Callable[[int], None]
) -> Float32:
    """Describe images at one scale.

    Parameters
    ----------
    engine : Engine
        Runs the net.
    sizes : sequence of (width, height)
        Of the rescaled images.
    load : callable
        Gives the rescaled image of a position in `sizes`, as (H, W, 3) bytes; called once for each.
    flip : bool
        Whether the descriptor is the mean with that of the mirrored image.
    done : callable
        Told how many images a batch finished.

    Returns
    -------
    ndarray of shape (len(sizes), D), float32
        In the order of `sizes`. Batches depend on `sizes` alone, so a repeated call gives the same bits.
    """
    rows: dict[int, Float32] = {}
    for batch in batches(sizes, copies=2 if flip else 1):
        images = np.stack([load(position) for position in batch])
        if flip:
            both = engine.describe(np.concatenate([images, images[:, :, ::-1]]))
            described = (both[: len(batch)] + both[len(batch) :]) * np.float32(0.5)
        else:
            described = engine.describe(images)
        rows.update(zip(batch, described, strict=True))
        done(len(batch))
    return np.stack([rows[position] for position in range(len(sizes))])


def batches(sizes: Sequence[Size], *, copies: int) -> list[list[int]]:
    """Group positions by size, then cut the groups.

    Parameters
    ----------
    sizes : sequence of (width, height)
        Of the images.
    copies : int
        Images that each position adds to a batch.

    Returns
    -------
    list of list of int
        Every position once; at least one position per batch, at most `BATCH_PIXELS` otherwise.
    """
    groups: defaultdict[Size, list[int]] = defaultdict(list)
    for position, size in enumerate(sizes):
        groups[size].append(position)
    result = []
    for (width, height), members in sorted(groups.items()):
        length = max(1, BATCH_PIXELS // (width * height * copies))
        result += [members[start : start + length] for start in range(0, len(members), length)]
    return result
