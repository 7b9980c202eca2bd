"""Where the time of an extraction went, by a clock that is moved by hand."""

import threading

import pytest

from transferbench.pipeline.spent import Spent, in_words


class Clock:
    """Shows what it is set to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def images(clock, waits):
    for wait in waits:
        clock.now += wait
        yield object()


def test_waiting_for_images_is_no_time_of_the_net_and_what_serves_all_scales_is_divided(clock):
    spent = Spent(clock)
    list(spent.waiting(images(clock, [3.0, 1.0]), 0))  # decoding, once for both scales
    for side, net in ((256, 10.0), (512, 40.0)):
        with spent.on("describe", side):
            for _ in spent.waiting(images(clock, [0.5, 0.25]), side):
                clock.now += net / 2
    with spent.on("disk"):
        clock.now += 2.0
    small, large = spent.at(256), spent.at(512)
    assert (small.net, small.waiting_for_images, small.waiting_for_disk) == (10.0, 0.75 + 2.0, 1.0)
    assert (large.net, large.waiting_for_images, large.waiting_for_disk) == (40.0, 0.75 + 2.0, 1.0)
    assert small.seconds + large.seconds == clock.now


def test_work_of_other_threads_is_added_up_beside(clock):
    spent = Spent(clock)

    def work(kind, side):
        with spent.on(kind, side):
            clock.now += 1.0

    for kind in ("decode", "rescale", "rescale", "write"):
        thread = threading.Thread(target=work, args=(kind, 256))
        thread.start()
        thread.join()
    found = spent.at(256)
    assert (found.decoding, found.rescaling, found.writing, found.seconds) == (1.0, 2.0, 1.0, 0.0)


def test_time_is_added_up_however_the_work_ends(clock):
    spent = Spent(clock)

    def fail():
        with spent.on("describe", 256):
            clock.now += 5.0
            int("bad")

    with pytest.raises(ValueError, match="bad"):
        fail()
    assert spent.at(256).net == 5.0


def test_words_say_scales_shares_and_the_rest(clock):
    spent = Spent(clock)
    for side, net in ((256, 30.0), (512, 60.0)):
        with spent.on("describe", side):
            clock.now += net
    scales, shares, beside = in_words({side: spent.at(side) for side in (256, 512)}, 100.0)
    assert scales == "time by scale: 30.0 s at 256 px, 60.0 s at 512 px"
    assert shares == (
        "of that time: 90 % the net, 0 % waiting for images, 0 % waiting for the disk, "
        "10 % the rest (other processes, looking at the cache)"
    )
    assert beside == "in other threads: decoding 0.0 s, rescaling 0.0 s, writing 0.0 s"
    assert in_words({}, 3.0) == []
