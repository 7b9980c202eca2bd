"""`tb report`: a stored result → text, Markdown and a page."""

from dataclasses import dataclass
from pathlib import Path

from transferbench.data.record import published_row
from transferbench.home import Home
from transferbench.reporting.compare import Comparison, compare
from transferbench.reporting.report import text_report, write_report
from transferbench.reporting.result import Result, find_result, load_result


@dataclass(frozen=True, slots=True)
class Report:
    """A result and where its readable forms are.

    Parameters
    ----------
    result : Result
        What was found.
    comparison : Comparison or None
        With the row that the recipe claims.
    folder : Path
        Where it is stored.
    page : Path
        The self-contained HTML page.
    text : str
        For a terminal.
    """

    result: Result
    comparison: Comparison | None
    folder: Path
    page: Path
    text: str


def report(home: Home, name: str | Path | None) -> Report:
    """Write the readable forms of a stored result.

    Parameters
    ----------
    home : Home
        The work folder.
    name : str, Path or None
        A result's folder, a recipe (its newest result), or None for the newest of all.

    Returns
    -------
    Report
        ``report.md`` and ``report.html`` stand beside ``result.json``.

    Raises
    ------
    ResultError
        If there is no result, or it is damaged.
    """
    folder = find_result(home.results, None if name is None else str(name))
    result = load_result(folder)
    comparison = _compare(result)
    _, page = write_report(folder, result, comparison)
    return Report(result, comparison, folder, page, text_report(result, comparison))


def _compare(result: Result) -> Comparison | None:
    """Look the claimed row up now, not when the scores were computed: published numbers get corrected."""
    claims = result.recipe["claims"]
    return None if claims is None else compare(result, published_row(result.dataset, claims))
