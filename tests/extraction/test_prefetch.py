import threading

import pytest

from transferbench.extraction.prefetch import Prefetch, prefetching


def test_results_come_in_the_order_of_the_items():
    with prefetching(3) as prefetch:
        assert list(prefetch.map(lambda n: n * n, range(50), lambda n: 1)) == [n * n for n in range(50)]


def test_no_more_bytes_are_held_than_allowed_but_always_one_item():
    begun, lock = [], threading.Lock()

    def prepare(n):
        with lock:
            begun.append(n)
        return n

    prefetch = Prefetch(4, ahead_bytes=10)
    try:
        results = prefetch.map(prepare, range(6), lambda n: 100 if n == 3 else 5)
        for expected in range(6):
            assert next(results) == expected
            # Two of 5 bytes beside the one in hand; one of 100 waits until nothing else does.
            assert max(begun) <= expected + 2
    finally:
        prefetch.close()


def test_an_error_is_raised_in_its_turn():
    def prepare(n):
        if n == 2:
            msg = "two"
            raise ValueError(msg)
        return n

    with prefetching(4) as prefetch:
        results = prefetch.map(prepare, range(9), lambda n: 1)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="two"):
            next(results)
