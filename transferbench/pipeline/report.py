"""`tb report`: stored results → text, tables and a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transferbench.data.published import published_row
from transferbench.errors import StorageError
from transferbench.files import publish
from transferbench.home import Home
from transferbench.pipeline.datasets import WHOLE, DataOptions
from transferbench.pipeline.page import views
from transferbench.reporting.compare import Comparison, compare
from transferbench.reporting.forms import OVERVIEWS
from transferbench.reporting.overview import Reported
from transferbench.reporting.report import markdown_report, per_class_text, text_report, write_markdown
from transferbench.reporting.result import Result, find_result, list_results, load_result, newest, readable
from transferbench.reporting.results_page import results_page

PAGE_FILE = "report.html"


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
    page : Path or None
        The self-contained HTML page; None where it cannot be written.
    text : str
        For a terminal.
    notes : tuple of str
        What the page lacks, and why.
    """

    result: Result
    comparison: Comparison | None
    folder: Path
    page: Path | None
    text: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reports:
    """Several results, and the page over all of them.

    Parameters
    ----------
    reports : tuple of Report
        In the order asked for.
    page : Path or None
        Over all; None where it cannot be written.
    html : str
        What stands in it.
    notes : tuple of str
        What the page lacks, and why.
    """

    reports: tuple[Report, ...]
    page: Path | None
    html: str
    notes: tuple[str, ...]

    def told(self, form: str, *, per_class: bool = False) -> str:
        """Tell the results in words or tables.

        Parameters
        ----------
        form : {"text", "markdown", "csv", "latex"}
            Of a single result text and Markdown tell more.
        per_class : bool
            In text: the value of every class as well.

        Returns
        -------
        str
            For stdout.
        """
        entries = [Reported(done.folder, done.result, done.comparison) for done in self.reports]
        single = entries[0] if len(entries) == 1 else None
        if form == "markdown" and single:
            return markdown_report(single.result, single.comparison)
        told = self.reports[0].text if form == "text" and single else OVERVIEWS[form](entries)
        tables = [per_class_text(entry.result) for entry in entries] if form == "text" and per_class else []
        return "\n\n".join([told, *tables])


def report(home: Home, name: str | Path | None, data: DataOptions = WHOLE) -> Report:
    """Write the readable forms of a stored result.

    Parameters
    ----------
    home : Home
        The work folder.
    name : str, Path or None
        A result's folder, a recipe (its newest result), or None for the newest of all.
    data : DataOptions
        Where the images are, for the pictures of the page.

    Returns
    -------
    Report
        ``report.md`` and ``report.html`` stand beside ``result.json``, where that folder can be written.

    Raises
    ------
    ResultError
        If there is no result, or it is damaged.
    """
    folder = find_result(home.results, None if name is None else str(name))
    return _reports(home, [folder], data, images=True).reports[0]


def reports(home: Home, names: Sequence[str], *, data: DataOptions = WHOLE, images: bool = True) -> Reports:
    """Write the readable forms of several stored results, and a page over them.

    Parameters
    ----------
    home : Home
        The work folder.
    names : sequence of str
        Results' folders, or recipes (their newest results); none for the newest result of every recipe.
    data : DataOptions
        Where the images are.
    images : bool
        Whether to show test images.

    Returns
    -------
    Reports
        Several results have their page in the folder of all results.

    Raises
    ------
    ResultError
        If there is no result, or one is damaged.
    """
    if names:
        folders = list(dict.fromkeys(find_result(home.results, name) for name in names))
    else:
        by_recipe: dict[str, list[Path]] = {}
        for folder, _ in readable(list_results(home.results)):
            by_recipe.setdefault(folder.parent.name, []).append(folder)
        # If there is none, it is said how to make one.
        folders = [newest(of_recipe) for of_recipe in by_recipe.values()] or [find_result(home.results, None)]
    return _reports(home, folders, data, images=images)


def _reports(home: Home, folders: Sequence[Path], data: DataOptions, *, images: bool) -> Reports:
    entries = []
    for folder in folders:
        result = load_result(folder)
        entries.append(Reported(folder, result, _compare(result)))
    shown, notes = views(entries, home, data, images=images)
    html, page = results_page(shown), (folders[0] if len(folders) == 1 else home.results) / PAGE_FILE
    written: Path | None = page
    try:  # results may lie where others can only read them, or the disk be full: their numbers are told all the same
        publish(page, html.encode())
        for entry in entries:
            write_markdown(entry.folder, entry.result, entry.comparison)
    except StorageError as problem:
        written, notes = None, (*notes, f"no page is written beside the results: {problem}")
    told = tuple(
        Report(e.result, e.comparison, e.folder, written, text_report(e.result, e.comparison), notes) for e in entries
    )
    return Reports(told, written, html, notes)


def _compare(result: Result) -> Comparison | None:
    """Look the claimed row up now, not when the scores were computed: published numbers get corrected."""
    claims = result.recipe["claims"]
    return None if claims is None else compare(result, published_row(result.dataset, claims))
