"""All cores on the classes: the compiled loops hold no Python lock, so threads share the arrays without a copy."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any

from threadpoolctl import ThreadpoolController

from transferbench.environment import cores


def in_ranges(n: int, work: Callable[[int, int], Any]) -> None:
    """Call ``work(first, last)`` for equal parts of ``range(n)``, one part per core.

    Parameters
    ----------
    n : int
        How many items; their results must not depend on one another.
    work : callable
        Compiled, so that the parts run at the same time.
    """
    parts = min(cores(), n)
    edges = [n * part // max(parts, 1) for part in range(parts + 1)]
    each([(first, last) for first, last in pairwise(edges)], lambda edge: work(*edge))


def each(items: Iterable[Any], work: Callable[[Any], Any]) -> list[Any]:
    """Call `work` for every item, on all cores.

    Parameters
    ----------
    items : iterable
        Independent of one another.
    work : callable
        Compiled, so that several items run at the same time.

    Returns
    -------
    list
        Results in the order of the items.
    """
    waiting = list(items)
    if len(waiting) < 2 or cores() == 1:
        return [work(item) for item in waiting]
    return list(_pool(os.getpid()).map(work, waiting))


@contextmanager
def one_core_each() -> Iterator[None]:
    """Keep BLAS to the core of the thread that calls it, where the cores are busy with different classes already."""
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _pool(_process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="classes")


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
