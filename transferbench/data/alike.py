"""Images that look alike: copies that were rescaled or compressed anew, which a random split may part.

An image is told by 64 signs: whether brightness rises from one cell of an 8 x 9 grid to the next in its row. Copies of
one photograph differ in a few signs, other photographs in about half of them. Crops of a photograph are not found.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_SIGNS = 3
"""So many may differ: of four words of 16 signs one is then the same, by which pairs are found."""

_SIDE = 8
_WORDS = 4
_CROWD = 500  # as many images that share a word share something like a white ground; they are not compared

Code = NDArray[np.uint16]


def signs_of(image: Image.Image) -> bytes:
    """Describe an image by its signs.

    Parameters
    ----------
    image : PIL.Image.Image
        Any.

    Returns
    -------
    bytes
        64 signs in 8 bytes.
    """
    grey = np.asarray(image.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), dtype=np.int16)
    return np.packbits(np.diff(grey, axis=1) > 0).tobytes()


def alike(codes: list[bytes]) -> list[tuple[int, int]]:
    """Find images that look alike.

    Parameters
    ----------
    codes : list of bytes
        From `signs_of`, one per image.

    Returns
    -------
    list of tuple of int
        Pairs of positions, the smaller first, in ascending order. Images without any sign (a flat area) have none.
    """
    words = np.frombuffer(b"".join(codes), dtype=np.uint16).reshape(len(codes), _WORDS)
    pairs = {pair for word in range(_WORDS) for pair in _sharing(words, word)}
    return sorted(pairs)


def _sharing(words: Code, word: int) -> Iterator[tuple[int, int]]:
    """Yield pairs that share one word and differ in few signs of the others."""
    order = np.argsort(words[:, word], kind="stable")
    starts = np.flatnonzero(np.diff(words[order, word], prepend=-1))
    for members in np.split(order, starts[1:]):
        known = members[words[members].any(axis=1)]
        if not 2 <= len(known) <= _CROWD:
            continue
        differing = np.unpackbits((words[known][:, None] ^ words[known][None]).view(np.uint8), axis=-1).sum(axis=-1)
        for one, other in zip(*np.nonzero(np.triu(differing <= MOST_SIGNS, k=1)), strict=True):
            yield tuple(sorted((int(known[one]), int(known[other]))))  # type: ignore[misc]
