"""What a verb reports about itself: whether it reused earlier work, and how long it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar


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


S = TypeVar("S", bound=Stage)


@contextmanager
def timed(stage: S) -> Iterator[S]:
    """Time a step.

    Parameters
    ----------
    stage : Stage
        The step.

    Yields
    ------
    Stage
        To be marked as reused by the step itself; its seconds are set at the end.
    """
    start = time.perf_counter()
    try:
        yield stage
    finally:
        stage.seconds = time.perf_counter() - start
