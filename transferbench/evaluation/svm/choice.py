"""Which way to take for a problem of some shape, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from transferbench import environment

Way = Literal["gram", "rows"]

PRODUCTS_A_C: Mapping[Way, int] = {"gram": 13, "rows": 75}
"""Products with the Gram matrix that a value of C was measured to take, together with all that is not a product."""
PRODUCTS_OF_TRAINING: Mapping[Way, int] = {"gram": 8, "rows": 100}
"""The same of the training with the C chosen."""
_TRIED = 5
# How many times less work the rows' way must be: how many products it takes depends much more on the features.
_ADVANTAGE = 2
_MEMORY_PART = 0.4


@dataclass(frozen=True, slots=True)
class Choice:
    """A way, and a sentence that says why.

    Parameters
    ----------
    way : {"gram", "rows"}
        The Gram matrix in memory, or rows of features in blocks.
    reason : str
        With the numbers that decided; without a full stop.
    """

    way: Way
    reason: str


def choose(n: int, dimensions: int, n_classes: int, *, memory_bytes: int | None = None) -> Choice:
    """Choose by shape.

    Parameters
    ----------
    n : int
        Images that one Gram matrix would be of.
    dimensions : int
        Of the features.
    n_classes : int
        K.
    memory_bytes : int, optional
        Of the machine; found out if not given.

    Returns
    -------
    Choice
        The Gram matrix while it takes at most 40% of the memory, unless rows are so short that reading them again and
        again costs less.

    Examples
    --------
    >>> choose(15_420, 12_288, 257, memory_bytes=16 << 30).way
    'gram'
    >>> choose(200_000, 4_096, 100, memory_bytes=16 << 30).way
    'rows'
    """
    memory = memory_of_machine() if memory_bytes is None else memory_bytes
    gram_bytes = 4 * n * n
    room = f"{gram_bytes / 2**30:.1f} GiB" if gram_bytes >= 2**29 else f"{-(-gram_bytes // 2**20)} MiB"
    size = f"a Gram matrix of {n:,} images takes {room}"
    if gram_bytes > _MEMORY_PART * memory:
        return Choice("rows", f"{size}, more than {_MEMORY_PART:.0%} of {memory / 2**30:.0f} GiB")
    products = {way: _TRIED * PRODUCTS_A_C[way] + PRODUCTS_OF_TRAINING[way] for way in PRODUCTS_A_C}
    with_gram = n * n * dimensions + 2 * n * n * n_classes * products["gram"]
    with_rows = 4 * n * dimensions * n_classes * products["rows"]
    if with_rows * _ADVANTAGE < with_gram:
        return Choice("rows", f"rows of {dimensions:,} values are short beside {n:,} images")
    return Choice("gram", f"{size}, shared by {n_classes} classes and all values of C")


def memory_of_machine() -> int:
    """Ask for the physical memory, or this process's share of it.

    Returns
    -------
    int
        In bytes.
    """
    return environment.memory_bytes()
