"""How large the pictures of a dataset are: headers only, of all of them or of an even sample."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from transferbench.data.pictures import Pictures, size_of
from transferbench.errors import BadImageError

MOST_HEADERS = 10_000
"""Of more pictures every second, third ... is looked at."""
_WORKERS = min(16, 4 * (os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of pictures.

    Parameters
    ----------
    n_pictures : int
        All of them.
    sizes : dict of str to tuple of int
        Width and height in px, of those that were looked at and have a good header.
    bad : tuple of str
        Ids of those whose header is none.
    """

    n_pictures: int
    sizes: dict[str, tuple[int, int]]
    bad: tuple[str, ...]

    def sentence(self) -> str:
        """Say what is known, for a person.

        Returns
        -------
        str
            Number, median size, and how many headers were read.
        """
        looked = len(self.sizes) + len(self.bad)
        read = "all headers read" if looked == self.n_pictures else f"from {looked:,} headers, evenly chosen"
        bad = f"; {len(self.bad)} of them bad, first {self.bad[0]}" if self.bad else ""
        if not self.sizes:
            return f"{self.n_pictures:,} images ({read}{bad})"
        width, height = sorted(self.sizes.values(), key=lambda size: size[0] * size[1])[len(self.sizes) // 2]
        return f"{self.n_pictures:,} images, median {width} x {height} px ({read}{bad})"


def look(pictures: Pictures) -> Geometry:
    """Read headers.

    Parameters
    ----------
    pictures : Pictures
        Of a dataset.

    Returns
    -------
    Geometry
        Of at most `MOST_HEADERS` pictures.

    Raises
    ------
    DatasetError
        If a file cannot be read at all.
    """
    chosen = pictures.ids[:: max(1, -(-len(pictures.ids) // MOST_HEADERS))]
    sizes: dict[str, tuple[int, int]] = {}
    bad = []
    with ThreadPoolExecutor(_WORKERS) as workers:
        for image_id, size in zip(chosen, workers.map(lambda i: _size(pictures, i), chosen), strict=True):
            if size is None:
                bad.append(image_id)
            else:
                sizes[image_id] = size
    return Geometry(len(pictures.ids), sizes, tuple(bad))


def _size(pictures: Pictures, image_id: str) -> tuple[int, int] | None:
    try:
        return size_of(pictures, image_id)
    except BadImageError:
        return None
