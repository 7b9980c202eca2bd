"""Random divisions of images with several classes, exchanged where chance would leave a class on one side only."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence


def held_out(order: Sequence[str], n: int, shown: Mapping[str, Collection[int]], *, to_rest: int = 1) -> set[str]:
    """Hold out the first images by rank, and as few others as it takes to have every class on both sides.

    Average precision is undefined where no image shows a class, and an SVM needs positives. Where the first n and the
    rest both show every class, they are what is returned, so the divisions of large datasets are by rank alone.

    Parameters
    ----------
    order : sequence of str
        All images, by rank.
    n : int
        How many to hold out.
    shown : mapping of str to collection of int
        Numbers of the classes that each image shows.
    to_rest : int
        Images of every class that the rest needs: two if it is to be divided again.

    Returns
    -------
    set of str
        More than n where a class was lacking among the first n. A class of too few images, or whose images are all
        needed for others, stays short on one side: whoever fits or judges refuses it.
    """
    held, rest = list(order[:n]), list(order[n:])
    classes = sorted({k for numbers in shown.values() for k in numbers})
    for number in classes:
        _give(number, rest, held, shown, needed=1, kept=to_rest)
    for number in classes:
        _give(number, held, rest, shown, needed=to_rest, kept=1)
    return set(held)


def _give(
    number: int, source: list[str], target: list[str], shown: Mapping[str, Collection[int]], *, needed: int, kept: int
) -> None:
    """Move the first images of a class that the target lacks, but none that the source needs for any class itself."""
    while sum(number in shown[i] for i in target) < needed:
        left = Counter(k for i in source for k in shown[i])
        found = next((i for i in source if number in shown[i] and all(left[k] > kept for k in shown[i])), None)
        if found is None:
            return
        source.remove(found)
        target.append(found)
