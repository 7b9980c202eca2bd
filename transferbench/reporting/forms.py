"""The forms that several results side by side come in."""

from collections.abc import Callable, Sequence

from transferbench.reporting.latex import latex_overview
from transferbench.reporting.overview import Reported, csv_overview, markdown_overview, text_overview

OVERVIEWS: dict[str, Callable[[Sequence[Reported]], str]] = {
    "text": text_overview,
    "markdown": markdown_overview,
    "csv": csv_overview,
    "latex": latex_overview,
}
