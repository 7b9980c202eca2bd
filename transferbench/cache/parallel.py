"""Shards in several threads: hashing and reading let go of the interpreter."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from transferbench.environment import cores

T = TypeVar("T")
R = TypeVar("R")

_MOST_THREADS = 8


def in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Call a function for every item, a few at a time.

    Parameters
    ----------
    function : callable
        Run in threads.
    items : iterable
        What it is called with.

    Yields
    ------
    object
        Results in the order of the items, no more than the number of threads waiting. What the function raises is
        raised in the item's turn.
    """
    n_threads = min(_MOST_THREADS, cores())
    with ThreadPoolExecutor(n_threads, thread_name_prefix="shards") as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                if len(waiting) == n_threads:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
