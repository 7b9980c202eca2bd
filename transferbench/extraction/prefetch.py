"""Threads that prepare what is needed next, as far ahead as a number of bytes allows."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD_BYTES = 1 << 28


class Prefetch:
    """A pool of threads. Pillow lets go of the interpreter while it decodes and rescales, so threads do for it.

    Parameters
    ----------
    workers : int
        Threads.
    ahead_bytes : int
        Of results that wait for their turn, or are being prepared; one is always allowed.
    """

    def __init__(self, workers: int, ahead_bytes: int = AHEAD_BYTES) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
        self._ahead_bytes = ahead_bytes

    def map(self, prepare: Callable[[T], R], items: Iterable[T], n_bytes: Callable[[T], int]) -> Iterator[R]:
        """Prepare items, several at a time.

        Parameters
        ----------
        prepare : callable
            Run in the threads.
        items : iterable
            What it is called with.
        n_bytes : callable
            How much the result of an item takes.

        Yields
        ------
        object
            Results in the order of the items. What `prepare` raises is raised here, in the item's turn.
        """
        waiting: deque[tuple[Future[R], int]] = deque()
        held = 0
        try:
            for item in items:
                size = n_bytes(item)
                while waiting and held + size > self._ahead_bytes:
                    future, freed = waiting.popleft()
                    result = future.result()
                    held -= freed
                    yield result
                waiting.append((self._pool.submit(prepare, item), size))
                held += size
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            for future, _ in waiting:
                future.cancel()

    def close(self) -> None:
        """Stop the threads; what they have begun is finished."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def prefetching(workers: int) -> Iterator[Prefetch]:
    """Open a pool of threads for a while.

    Parameters
    ----------
    workers : int
        Threads.

    Yields
    ------
    Prefetch
        Closed at the end, however it ends.
    """
    prefetch = Prefetch(workers)
    try:
        yield prefetch
    finally:
        prefetch.close()
