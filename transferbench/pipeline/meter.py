"""How fast an extraction goes, while it goes and at its end."""

import time
from collections.abc import Callable

from transferbench.pipeline.plan import Part
from transferbench.progress import Task


class Meter:
    """A task that also tells the rate.

    Parameters
    ----------
    task : Task
        Told what is done.
    n_scales : int
        Descriptors of an image.
    now : callable
        A clock, in seconds.
    """

    def __init__(self, task: Task, n_scales: int, now: Callable[[], float] = time.monotonic) -> None:
        self._task, self._n_scales, self._now = task, n_scales, now
        self._start = now()
        self.n_done = 0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._now() - self._start

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count finished descriptors.

        Parameters
        ----------
        n : int
            How many since the last call.
        note : str
            Shown before the rate.
        """
        self.n_done += n
        self._task.advance(n, f"{note} {self.rate()}".strip())

    def rate(self) -> str:
        """Tell how many images a second this process describes, at all scales.

        Returns
        -------
        str
            For a person.
        """
        per_second = self.n_done / max(self.seconds, 1e-9) / self._n_scales
        return f"{per_second:,.{1 if per_second >= 1 else 3}f} images/s" + (
            f" at {self._n_scales} scales" if self._n_scales > 1 else ""
        )

    def summary(self, part: Part, to_do: int) -> str:
        """Say what this process has done, and whether others did the rest.

        Parameters
        ----------
        part : Part
            Complete.
        to_do : int
            Descriptors that were not there when this process began.

        Returns
        -------
        str
            Descriptors, seconds, rate, size of the blocks and images that were skipped.
        """
        n_bytes = sum(path.stat().st_size for block in part.blocks for path in block.folder.glob("rows-*.h5"))
        n_skipped = len({i for block in part.blocks for i in block.skipped()})
        alone = self.n_done == to_do
        done = f"{self.n_done:,} descriptors" if alone else f"{self.n_done:,} of {to_do:,} descriptors"
        return (
            f"extracted {done} in {self.seconds:,.1f} s{'' if alone else ', other processes the rest'}: {self.rate()}; "
            f"{len(part.blocks)} block(s) of {n_bytes / 1e6:,.1f} MB, {n_skipped} image(s) skipped"
        )
