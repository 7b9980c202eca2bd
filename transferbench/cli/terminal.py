"""Stdout is data, stderr is for people: printing, and progress bars where stderr is a terminal."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

LINE_EVERY_S = 60.0
"""How often a line says how far long work is, where there is no terminal."""

if TYPE_CHECKING:
    from transferbench.progress import Progress, Task


def print_json(value: Any) -> None:
    """Print JSON to stdout."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


def print_text(text: str) -> None:
    """Print paragraphs and tables to stdout: fitted to a terminal, as they are where something else reads them."""
    if sys.stdout is not None and sys.stdout.isatty():  # None where a shell closed it
        from transferbench.reporting.tables import fitted

        text = fitted(text, shutil.get_terminal_size().columns)
    click.echo(text)


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = (), as_json: bool
) -> None:
    """Print a table to stdout, or as a list of JSON objects with the same names."""
    if as_json:
        print_json([dict(zip((title.replace(" ", "_") for title in head), row, strict=True)) for row in rows])
    else:
        from transferbench.reporting.tables import text_table

        cells = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in rows]
        print_text(text_table(head, cells, right=right))


def is_first_process() -> bool:
    """Tell whether this process speaks for all: the others of a torchrun work in silence."""
    return os.environ.get("RANK", "0") == "0"


def progress() -> "Progress":
    """Return where stages report to: bars on a terminal, lines otherwise."""
    if not is_first_process():
        from transferbench.progress import Silent

        return Silent()
    if sys.stderr.isatty():
        from transferbench.cli.bars import Bars

        return Bars()
    return _Lines()


class _Lines:
    """No terminal: what is reused, started and written, a line each; now and then one on long work; no bars."""

    def say(self, line: str) -> None:
        """Print a line to stderr."""
        click.echo(line, err=True)

    @contextmanager
    def task(self, description: str, total: int, *, done: int = 0) -> "Iterator[Task]":
        """Say once a minute how far the work is."""
        yield _LineTask(self.say, description, total, done)


class _LineTask:
    def __init__(
        self,
        say: Callable[[str], None],
        description: str,
        total: int,
        done: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._description, self._total = say, description, total
        self._before = self._done = done
        self._now = now
        self._start = self._said = now()

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count, and say how far the work is if nothing was said for a while."""
        self._done += n
        now = self._now()
        if now - self._said < LINE_EVERY_S or self._done >= self._total or self._done == self._before:
            return
        self._said = now
        left_s = (self._total - self._done) * (now - self._start) / (self._done - self._before)
        noted, minutes = f", {note}" if note else "", max(1, round(left_s / 60))
        self._say(f"{self._description}: {self._done:,} of {self._total:,}{noted}, about {minutes:,} min left")
