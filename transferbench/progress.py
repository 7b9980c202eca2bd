"""How long work reports that it goes on. Knows no terminal: the command line brings one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One running piece of work."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count finished units.

        Parameters
        ----------
        n : int
            How many units are done since the last call.
        note : str
            A short figure to show beside the bar, for instance ``loss 0.12``.
        """


class Progress(Protocol):
    """Where stages report to: a terminal, or nowhere."""

    def task(self, description: str, total: int, *, done: int = 0) -> AbstractContextManager[Task]:
        """Open a piece of work of known length.

        Parameters
        ----------
        description : str
            What is done, and to what.
        total : int
            Units of work.
        done : int
            Units already there from an earlier run.

        Returns
        -------
        context manager of Task
            Closed when the work ends, however it ends.
        """

    def say(self, line: str) -> None:
        """Show one line for a person: what is reused, chosen or written.

        Parameters
        ----------
        line : str
            Without a line end.
        """


class _SilentTask:
    def advance(self, n: int = 1, note: str = "") -> None:
        """Do nothing."""


class Silent:
    """Progress that shows nothing: for use as a library."""

    @contextmanager
    def task(self, description: str, total: int, *, done: int = 0) -> Iterator[Task]:  # noqa: ARG002 - the protocol's signature
        """Open a task that shows nothing; see `Progress.task`."""
        yield _SilentTask()

    def say(self, line: str) -> None:
        """Say nothing; see `Progress.say`."""


class Within:
    """Progress inside a piece of work that is shown already: what is said is shown, further work is not.

    Parameters
    ----------
    progress : Progress
        That shows it.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def task(self, description: str, total: int, *, done: int = 0) -> AbstractContextManager[Task]:
        """Open a task that shows nothing; see `Progress.task`."""
        return Silent().task(description, total, done=done)

    def say(self, line: str) -> None:
        """Pass a line on; see `Progress.say`."""
        self._progress.say(line)
