"""What a verb reports about itself: whether it reused earlier work, and how long it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Stage:
    """One step of a run.

    Parameters
    ----------
    name : str
        For instance ``pretrain digits_a``.
    reused : bool
        Whether everything was there already.
    seconds : float
        Wall time of this step in this command.
    """

    name: str
    reused: bool = False
    seconds: float = 0.0


@contextmanager
def timed(name: str) -> Iterator[Stage]:
    """Time a step.

    Parameters
    ----------
    name : str
        Of the step.

    Yields
    ------
    Stage
        To be marked as reused by the step itself; its seconds are set at the end.
    """
    stage = Stage(name)
    start = time.perf_counter()
    try:
        yield stage
    finally:
        stage.seconds = time.perf_counter() - start
