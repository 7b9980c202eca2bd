"""The HTML page over results, readable without scripts."""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from transferbench.reporting.charts import CHART_CSS, COLOURS_CSS
from transferbench.reporting.overview import NO_CLAIM, TRIAL
from transferbench.reporting.page import render_page
from transferbench.reporting.report import mean_of_class
from transferbench.reporting.sections import sections
from transferbench.reporting.shown import Shown
from transferbench.reporting.tables import percent
from transferbench.reporting.views import View


def results_page(views: Sequence[View]) -> str:
    """Fill the page's template.

    Parameters
    ----------
    views : sequence of View
        At least one result.

    Returns
    -------
    str
        A whole HTML document; everything from results is escaped.
    """
    shown = [Shown(number, view) for number, view in enumerate(views, start=1)]
    functions: dict[str, Callable[..., Any]] = {
        "percent": percent,
        "points": _points,
        "sentence": _sentence,
        "mean_of_class": mean_of_class,
    }
    compared = [one.entry.comparison for one in shown if one.entry.comparison]
    return render_page(
        "results.html.j2",
        results=shown,
        sections=sections(shown),
        verdicts=_verdicts(shown),
        spreads=(any(one.scores.std is not None for one in shown), any(one.row.spread is not None for one in compared)),
        css=Markup(COLOURS_CSS + CHART_CSS),  # noqa: S704 - our own style sheets
        **functions,
    )


def _verdicts(results: Sequence[Shown]) -> list[tuple[Shown, int]]:
    """Count the verdicts; a result of each stands for it."""
    by_verdict: dict[str, list[Shown]] = {name: [] for name in ("within", "outside", "not comparable", NO_CLAIM, TRIAL)}
    for one in results:
        by_verdict[one.verdict].append(one)
    return [(group[0], len(group)) for group in by_verdict.values() if group]


def _points(difference: float) -> str:
    """Write a difference in points, with the sign that is as wide as a plus."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def _sentence(text: str) -> str:
    """Begin with a capital, and leave the names within as they are."""
    return text[:1].upper() + text[1:]
