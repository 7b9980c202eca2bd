"""Ctrl-C and SIGTERM while training: first finish the step and save, then leave as the program does elsewhere."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Asked:
    """Whether somebody has asked this process to stop, and how."""

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def leave(self, number: signal.Signals) -> None:
        """Do what the signal would have done at once, had nobody held it back.

        Parameters
        ----------
        number : Signals
            SIGINT raises KeyboardInterrupt, SIGTERM ends the process as the command line, or the system, does it.
        """
        before = self._before.get(number, signal.getsignal(number))
        if callable(before):
            before(number, None)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Let signals act at once while the body runs, one that was held back included."""
        for number, before in self._before.items():
            signal.signal(number, before)
        try:
            if self.by is not None:
                self.leave(self.by)
            yield
        finally:
            for number in self._before:
                signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.by is not None:  # asked twice: they mean it
            self.leave(signal.Signals(number))
        self.by = signal.Signals(number)


@contextmanager
def held_back() -> Iterator[Asked]:
    """Hold signals back while the body runs.

    Yields
    ------
    Asked
        Looked at after every step. Outside of the main thread signals are not ours, so it stays empty.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    # A process in the background ignores Ctrl-C from the start, and goes on doing so.
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    asked._before = {number: signal.signal(number, asked._note) for number in heard}  # noqa: SLF001 - its own handlers
    try:
        yield asked
    finally:
        for number, before in asked._before.items():  # noqa: SLF001
            signal.signal(number, before)
