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


@pytest.mark.parametrize("ahead_bytes", [1, 3, 100])
def test_an_error_is_raised_in_its_turn(ahead_bytes):
    def prepare(n):
        if n == 2:
            msg = "two"
            raise ValueError(msg)
        return n

    prefetch = Prefetch(4, ahead_bytes)
    try:
        results = prefetch.map(prepare, range(9), lambda n: 1)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="two"):
            next(results)
    finally:
        prefetch.close()


def test_threads_keep_working_ahead_to_the_last_item():
    begun = [threading.Event() for _ in range(7)]

    def prepare(n):
        """Done as soon as the next one has begun beside it."""
        begun[n].set()
        return n == 6 or begun[n + 1].wait(10)

    prefetch = Prefetch(2, ahead_bytes=10)
    try:
        assert all(prefetch.map(prepare, range(7), lambda n: 5))
    finally:
        prefetch.close()


def test_what_nobody_waits_for_any_more_is_not_begun():
    begun, gate = [], threading.Event()

    def prepare(n):
        begun.append(n)
        return n != 1 or gate.wait(10)

    with prefetching(1) as prefetch:
        results = prefetch.map(prepare, range(9), lambda n: 1)
        next(results)
        results.close()
        gate.set()
        assert list(prefetch.map(prepare, [20], lambda n: 1)) == [True]
    assert set(begun) <= {0, 1, 20}


def test_threads_end_with_an_error_elsewhere_and_begin_nothing_more():
    begun, kept = [], []

    def prepare(n):
        begun.append(n)
        return n == 0 or threading.Event().wait(0.2)

    def stumble():
        with prefetching(1) as prefetch:
            kept.append(prefetch.map(prepare, range(9), lambda n: 1))  # nobody closes it
            next(kept[0])
            raise KeyError

    with pytest.raises(KeyError):
        stumble()
    assert set(begun) <= {0, 1}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
