"""Where the time of an extraction goes: by scale and by kind of work, from several threads."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from transferbench.reporting.tables import percent

T = TypeVar("T")

Work = Literal["describe", "images", "disk", "decode", "rescale", "write"]
"""What the thread that runs the net does or waits for (the first three), and what other threads do beside it."""
EVERY_SCALE = 0
"""What is done once for all scales of a shard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleTime:
    """Where the time of one scale went, in seconds. What is done once for all scales is divided evenly among them.

    Parameters
    ----------
    net : float
        Running the net.
    waiting_for_images : float
        Nothing else was to be done than to wait until images were decoded and rescaled.
    waiting_for_disk : float
        Nor than to wait until a shard was written.
    decoding, rescaling, writing : float
        By all threads together, beside the net or not.
    """

    net: float
    waiting_for_images: float
    waiting_for_disk: float
    decoding: float
    rescaling: float
    writing: float

    @property
    def seconds(self) -> float:
        """Wall time."""
        return self.net + self.waiting_for_images + self.waiting_for_disk

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values.

        Returns
        -------
        dict
            Seconds, to a millisecond.
        """
        return {key: round(value, 3) for key, value in ({"seconds": self.seconds} | asdict(self)).items()}


NOTHING = ScaleTime(net=0.0, waiting_for_images=0.0, waiting_for_disk=0.0, decoding=0.0, rescaling=0.0, writing=0.0)


class Spent:
    """Adds up seconds; any thread may.

    Parameters
    ----------
    now : callable
        A clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._adding = threading.Lock()
        self._seconds: defaultdict[tuple[int, Work], float] = defaultdict(float)

    @contextmanager
    def on(self, work: Work, short_side_px: int = EVERY_SCALE) -> Iterator[None]:
        """Time a piece of work.

        Parameters
        ----------
        work : str
            What is done.
        short_side_px : int
            At which scale.

        Yields
        ------
        None
            The time is added however the work ends.
        """
        start = self._now()
        try:
            yield
        finally:
            with self._adding:
                self._seconds[short_side_px, work] += self._now() - start

    def waiting(self, images: Iterator[T], short_side_px: int) -> Iterator[T]:
        """Time how long images are waited for.

        Parameters
        ----------
        images : iterator
            As they come.
        short_side_px : int
            At which scale.

        Yields
        ------
        object
            The same.
        """
        while True:
            with self.on("images", short_side_px):
                image = next(images, None)
            if image is None:
                return
            yield image

    def at(self, short_side_px: int) -> ScaleTime:
        """Tell where the time of a scale went.

        Parameters
        ----------
        short_side_px : int
            One of those that were worked on.

        Returns
        -------
        ScaleTime
            With its even share of what was done for all.
        """
        with self._adding:
            seconds = dict(self._seconds)
        n_scales = len({side for side, _ in seconds if side != EVERY_SCALE}) or 1

        def of(work: Work) -> float:
            return seconds.get((short_side_px, work), 0.0) + seconds.get((EVERY_SCALE, work), 0.0) / n_scales

        waited = seconds.get((short_side_px, "images"), 0.0)
        return ScaleTime(
            net=of("describe") - waited,  # images are waited for between batches
            waiting_for_images=of("images"),
            waiting_for_disk=of("disk"),
            decoding=of("decode"),
            rescaling=of("rescale"),
            writing=of("write"),
        )


def in_words(times: dict[int, ScaleTime], whole_s: float) -> list[str]:
    """Say where the time went.

    Parameters
    ----------
    times : dict of int to ScaleTime
        By short side in px.
    whole_s : float
        Wall time, from the first shard to the last.

    Returns
    -------
    list of str
        A line by scales, one by what the time was spent on, one on what went on beside it.
    """
    spent = sum(each.seconds for each in times.values())
    if spent <= 0:
        return []
    shares = {
        "the net": sum(each.net for each in times.values()),
        "waiting for images": sum(each.waiting_for_images for each in times.values()),
        "waiting for the disk": sum(each.waiting_for_disk for each in times.values()),
        "the rest (other processes, looking at the cache)": max(0.0, whole_s - spent),
    }
    beside = {
        "decoding": sum(each.decoding for each in times.values()),
        "rescaling": sum(each.rescaling for each in times.values()),
        "writing": sum(each.writing for each in times.values()),
    }
    return [
        "time by scale: " + ", ".join(f"{each.seconds:,.1f} s at {side} px" for side, each in times.items()),
        "of that time: "
        + ", ".join(f"{percent(s / max(whole_s, spent), digits=0)} % {what}" for what, s in shares.items()),
        "in other threads: " + ", ".join(f"{what} {seconds:,.1f} s" for what, seconds in beside.items()),
    ]
