"""Progress on a terminal: a bar with count, note and time left in one line, whatever the terminal's width."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from transferbench.progress import Task

BAR, LEAST_BAR = 40, 10
"""The longest and the shortest bar, in characters; where there is no room for that, there is none."""
_LEAST_DESCRIPTION = 24


@dataclass(frozen=True, slots=True)
class Layout:
    """What of a piece of work is shown in one line.

    Parameters
    ----------
    description : str
        What is done; shortened at its end where it is too long.
    bar : int
        Length of the bar in characters; 0 for none.
    rest : str
        Count, note, and times. The count and the time left are always in it.
    """

    description: str
    bar: int
    rest: str


def layout(width: int, description: str, count: str, note: str, elapsed: str, left: str) -> Layout:
    """Choose what fits one line: first the bar goes, then the time elapsed, then ends of description and note.

    Parameters
    ----------
    width : int
        Of the terminal, in characters.
    description, note : str
        What is done, and short figures with a comma and a blank between them.
    count, elapsed, left : str
        How many of how many; the time since the start, and until the end.

    Returns
    -------
    Layout
        As long as the line or shorter, where count and time left fit it at all.
    """
    whole = " ".join(filter(None, (count, note, elapsed, f"left {left}")))
    if (bar := width - len(description) - len(whole) - 2) >= LEAST_BAR:
        return Layout(description, min(bar, BAR), whole)
    if len(description) + 1 + len(whole) <= width:
        return Layout(description, 0, whole)
    brief = " ".join(filter(None, (count, note, f"left {left}")))
    least = min(len(description), _LEAST_DESCRIPTION)
    while note and least + 1 + len(brief) > width:
        note = note.rpartition(", ")[0]
        brief = " ".join(filter(None, (count, note, f"left {left}")))
    room = max(0, width - len(brief) - 1)
    short = description if len(description) <= room else description[: max(0, room - 1)].rstrip(" ,") + "…"
    return Layout(short, 0, brief)


class Bars:
    """A terminal: a bar while work goes on; it goes when the work is done, the lines stay."""

    def __init__(self) -> None:
        self._bars: RichProgress | None = None

    def say(self, line: str) -> None:
        """Print a line above the bar, wrapped between words."""
        import shutil

        from transferbench.reporting.tables import fitted

        text = fitted(line, shutil.get_terminal_size().columns)
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(text, err=True)

    @contextmanager
    def task(self, description: str, total: int, *, done: int = 0) -> "Iterator[Task]":
        """Show a bar while the work goes on."""
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        with Progress(_column(console), console=console, transient=True, expand=True) as bars:
            self._bars = bars
            number = bars.add_task(description, total=total, completed=done, note="")
            try:
                yield _BarTask(bars, number)
            finally:
                self._bars = None


def _column(console: Any) -> Any:
    from rich.progress import ProgressColumn
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    class Line(ProgressColumn):
        """The whole line: columns of rich would drop count and time left first."""

        def render(self, task: Any) -> Table:
            shown = layout(
                console.width,
                task.description,
                f"{int(task.completed):,}/{int(task.total):,}",
                task.fields["note"],
                _clock(task.elapsed),
                _clock(task.time_remaining),
            )
            line = Table.grid(padding=(0, 1, 0, 0))
            bar = [ProgressBar(total=task.total, completed=task.completed, width=shown.bar)] if shown.bar else []
            line.add_row(Text(shown.description, no_wrap=True), *bar, Text(shown.rest, no_wrap=True))
            return line

    return Line()


def _clock(seconds: float | None) -> str:
    return "-:--:--" if seconds is None else str(timedelta(seconds=int(seconds)))


class _BarTask:
    def __init__(self, bars: "RichProgress", number: Any) -> None:
        self._bars, self._number = bars, number

    def advance(self, n: int = 1, note: str = "") -> None:
        """Move the bar."""
        self._bars.update(self._number, advance=n)
        if note:
            self._bars.update(self._number, note=note)
