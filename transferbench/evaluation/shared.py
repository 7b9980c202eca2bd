"""Rows that several ids share: all people of a photograph have the descriptor of the whole of it."""

from collections.abc import Iterator, Sequence

import numpy as np

from transferbench.errors import FeatureError
from transferbench.evaluation.aggregate import Source
from transferbench.types.arrays import Float32
from transferbench.types.identity import sha256_of


def shared(source: Source, ids: tuple[str, ...], whose: Sequence[str], length: int) -> Source:
    """Repeat rows for every id that they stand for.

    Parameters
    ----------
    source : Source
        A row for every image.
    ids : tuple of str
        N ids, for instance of people.
    whose : sequence of str
        For each of `ids` the id of its row in `source`, in the same order as there.
    length : int
        Rows per chunk, the last one excepted: that of the sources with a row per id.

    Returns
    -------
    Source
        A row for each of `ids`. The source is read once, in order; little more than two of its chunks are held.

    Raises
    ------
    FeatureError
        If an id has no row, or the order is another one.
    """
    row_of = {image_id: row for row, image_id in enumerate(source.ids)}
    rows = np.array([row_of.get(image_id, -1) for image_id in whose])
    if len(rows) and (rows.min() < 0 or (np.diff(rows) < 0).any()):
        msg = f"the rows of {source.name} do not stand for these ids in their order"
        raise FeatureError(msg)

    def chunks() -> Iterator[Float32]:
        incoming = source.chunks()
        held, first = next(incoming), 0
        for start in range(0, len(ids), length):
            wanted = rows[start : start + length]
            while first + len(held) <= wanted[-1]:
                passed = min(int(wanted[0]) - first, len(held))
                held, first = np.concatenate([held[passed:], next(incoming)]), first + passed
            yield held[wanted - first]

    key = source.key and sha256_of([source.key, list(source.ids), list(whose)])
    return Source(source.name, ids, chunks, key)
