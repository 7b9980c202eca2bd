"""Tables for a terminal and for Markdown, from the same cells."""

import re
import textwrap
from collections.abc import Iterator, Sequence

Cells = Sequence[Sequence[str]]
_LEAST_LAST = 24
"""As narrow as a last column of words may get before a table is told row by row."""
_RULE = re.compile("─+(  ─+)*")
_COMMAND = re.compile(r"\s*(tb|torchrun|python|pip|apt-get) ")


def text_table(head: Sequence[str], rows: Cells, *, right: Sequence[str] = ()) -> str:
    """Lay out a table for a terminal or a pipe; nothing is wrapped or cut.

    Parameters
    ----------
    head : sequence of str
        Column titles.
    rows : sequence of sequences of str
        Cells.
    right : sequence of str
        Titles of the columns that are aligned to the right.

    Returns
    -------
    str
        Columns parted by two blanks, without a last line end.
    """
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        parts = (
            cell.rjust(width) if title in right else cell.ljust(width)
            for cell, width, title in zip(cells, widths, head, strict=True)
        )
        return "  ".join(parts).rstrip()

    return "\n".join([line(head), "  ".join("─" * width for width in widths), *map(line, rows)])


def fitted(text: str, width: int) -> str:
    """Fit text to a terminal: long lines wrap between words, tables that are too wide are told otherwise.

    Parameters
    ----------
    text : str
        Paragraphs, a line each, and tables of `text_table`. Commands stay on one line, so that they can be copied.
    width : int
        Of the terminal, in characters.

    Returns
    -------
    str
        Of a table either the last column is wrapped, or every row becomes a few lines: its first cell, and below it
        the other cells with their titles.
    """
    lines, told = text.split("\n"), []
    while lines:
        if len(lines) > 1 and _RULE.fullmatch(lines[1]):
            height = next((n for n, line in enumerate(lines) if not line), len(lines))
            told += _fitted_table(lines[:height], width)
            del lines[:height]
        else:
            told += _wrapped(lines.pop(0), width)
    return "\n".join(told)


def _wrapped(line: str, width: int) -> list[str]:
    if len(line) <= width or _COMMAND.match(line):
        return [line]
    indent = re.match(r"\s*(- |\[\d+\] )?", line)[0]  # type: ignore[index]  # matches the empty text, too
    return textwrap.wrap(
        line, width, subsequent_indent=" " * len(indent), break_long_words=False, break_on_hyphens=False
    )


def _fitted_table(lines: Sequence[str], width: int) -> list[str]:
    if max(map(len, lines)) <= width:
        return list(lines)
    spans = [match.span() for match in re.finditer("─+", lines[1])]
    head, *rows = ([line[a:b].strip() for a, b in spans] for line in (lines[0], *lines[2:]))
    last = spans[-1][0]
    longest = max((len(word) for row in rows for word in row[-1].split()), default=0)
    # A column without a title holds values beside their names: an address that is too long stands out, and stays whole.
    least = max(_LEAST_LAST, longest) if head[-1] else _LEAST_LAST
    if width - last >= least:
        return [part for line in lines for part in _last_wrapped(line, last, width)]
    return [line for row in rows for line in _row_by_itself(head, row, width)]


def _last_wrapped(line: str, last: int, width: int) -> Iterator[str]:
    if set(line) <= {"─", " "}:
        yield line[:width]
        return
    first, *more = textwrap.wrap(line[last:], width - last, break_long_words=False, break_on_hyphens=False) or [""]
    yield (line[:last] + first).rstrip()
    yield from (" " * last + part for part in more)


def _row_by_itself(head: Sequence[str], row: Sequence[str], width: int) -> Iterator[str]:
    if row[0]:
        yield row[0]
    line = " "
    for title, cell in zip(head[1:], row[1:], strict=True):
        part = f" {title}: {cell} " if title else f" {cell} "
        if line.strip() and len(line) + len(part.rstrip()) > width:
            yield from _continued(line, width)
            line = " "
        line += part if cell else ""
    if line.strip():
        yield from _continued(line, width)


def _continued(line: str, width: int) -> list[str]:
    return textwrap.wrap(line.rstrip(), width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def markdown_table(head: Sequence[str], rows: Cells, *, right: Sequence[str] = ()) -> str:
    """Lay out a table in Markdown.

    Parameters
    ----------
    head : sequence of str
        Column titles.
    rows : sequence of sequences of str
        Cells.
    right : sequence of str
        Titles of the columns that are aligned to the right.

    Returns
    -------
    str
        Without a last line end.
    """
    rule = ["---:" if title in right else "---" for title in head]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in [head, rule, *rows]
    )


def percent(mean: float, spread: float | None = None, digits: int = 1) -> str:
    """Write a fraction as the papers do.

    Parameters
    ----------
    mean : float
        In [0, 1].
    spread : float, optional
        In the same unit.
    digits : int
        After the point.

    Returns
    -------
    str
        For instance ``92.7 ± 0.5``; the unit is per cent.
    """
    return f"{100 * mean:.{digits}f}" + (f" ± {100 * spread:.{digits}f}" if spread is not None else "")


def percents(interval: tuple[float, float] | None) -> str:
    """Write an interval in per cent.

    Parameters
    ----------
    interval : tuple of two floats or None
        In [0, 1].

    Returns
    -------
    str
        For instance ``97.4 – 98.9``; empty for None.
    """
    return "" if interval is None else f"{100 * interval[0]:.1f} – {100 * interval[1]:.1f}"
