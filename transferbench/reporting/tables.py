"""Tables for a terminal and for Markdown, from the same cells."""

from collections.abc import Sequence

Cells = Sequence[Sequence[str]]


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
