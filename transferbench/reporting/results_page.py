"""The HTML page over results, readable without scripts: what its template needs to know of each."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from transferbench.files import publish
from transferbench.reporting.charts import CHART_CSS, COLOURS_CSS, Axis, Series, line_chart
from transferbench.reporting.deviations import own
from transferbench.reporting.overview import NO_CLAIM, Reported, nets_of, scales_of
from transferbench.reporting.page import render_page
from transferbench.reporting.report import headline, mean_of_class, otherwise, provenance_rows, remarks, stage_rows
from transferbench.reporting.result import Result, VariantScore
from transferbench.reporting.tables import percent
from transferbench.reporting.views import View
from transferbench.types.arrays import Int64

SHADE_PER_CENT = 45
"""The darkest cell of a confusion matrix: the number in it stays readable."""
_LABELLED_CELLS = 20
_CONFUSIONS = 12
_NETS_SINGLE = "single scale"


def write_page(path: Path, views: Sequence[View]) -> Path:
    """Write the page over results.

    Parameters
    ----------
    path : Path
        The file.
    views : sequence of View
        In order.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    publish(path, results_page(views).encode())
    return path


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
    shown = [_Shown(number, view) for number, view in enumerate(views, start=1)]
    functions: dict[str, Callable[..., Any]] = {"percent": percent, "own": own, "mean_of_class": mean_of_class}
    return render_page(
        "results.html.j2",
        results=shown,
        sections=_sections(shown),
        css=Markup(COLOURS_CSS + CHART_CSS),  # noqa: S704 - our own style sheets
        **functions,
    )


@dataclass(frozen=True, slots=True)
class _Shown:
    """A result in the words of the template."""

    number: int
    view: View

    @property
    def entry(self) -> Reported:
        return self.view.entry

    @property
    def result(self) -> Result:
        return self.entry.result

    @property
    def scores(self) -> VariantScore:
        return own(self.result)

    @property
    def nets(self) -> str:
        return nets_of(self.result)

    @property
    def scales(self) -> str:
        return scales_of(self.result)

    @property
    def aggregate(self) -> str:
        return "single scale" if len(self.result.recipe["features"]["scales"]) == 1 else self._kind

    @property
    def _kind(self) -> str:
        return str(self.result.recipe["aggregate"]["kind"])

    @property
    def verdict(self) -> str:
        return NO_CLAIM if self.entry.comparison is None else self.entry.comparison.verdict

    @property
    def sign(self) -> str:
        return {"within": "✓", "outside": "✗", "not comparable": "≠"}.get(self.verdict, "–")

    @property
    def interval(self) -> tuple[float, float]:
        """What to draw around the value: the stored interval, else a standard deviation to each side."""
        stored = self.scores.interval
        spread = self.scores.std or 0.0
        low, high = stored or (self.scores.mean - spread, self.scores.mean + spread)
        return float(low), float(high)

    @property
    def interval_words(self) -> str:
        stored = self.scores.interval
        return f"95 % interval over test images {percent(stored[0])} to {percent(stored[1])}" if stored else ""

    @property
    def headline(self) -> str:
        return headline(self.result)

    @property
    def remarks(self) -> list[str]:
        told = remarks(self.result, self.entry.comparison)
        return [line for line in told if not line.endswith(":") and not line.startswith("Reference:")]

    @property
    def otherwise(self) -> list[str]:
        return otherwise(self.entry.comparison)

    @property
    def provenance(self) -> list[tuple[str, str]]:
        return [*provenance_rows(self.result), ("folder", str(self.entry.folder))]

    @property
    def stages(self) -> Sequence[Sequence[str]]:
        return stage_rows(self.result)

    @property
    def compared(self) -> list[VariantScore]:
        """The own features and the floors, without smaller training parts."""
        others = [v for v in self.result.scores if v.name != self.scores.name]
        return [self.scores, *others]

    @property
    def selection(self) -> Markup:
        """How the choice of C went, a line per split."""
        splits = [s for s in self.scores.splits if len(s.validation) > 1]
        if not splits:
            return Markup("")
        series = [
            Series(f"split {s.name}" if len(splits) > 1 else "validation", [(C, 100 * v) for C, v in s.validation])
            for s in splits
        ]
        y = Axis(_axis_label(self.result))
        return line_chart(series, title="Choice of C, on validation images", x=Axis("C", log=True), y=y)

    @property
    def curves(self) -> list[tuple[str, str, str]]:
        """Name, value and the path of every class's precision-recall curve, in a square of 100."""
        drawn = []
        for curve in self.view.curves:
            steps = "".join(f"V{100 - 100 * precision:.3g}H{100 * recall:.3g}" for recall, precision in curve.points)
            first = 100 - 100 * curve.points[0][1]
            drawn.append((curve.name, percent(curve.value), f"M0 100V{first:.3g}{steps}V100"))
        return drawn

    @property
    def confusion(self) -> "_Confusion | None":
        counts = [s.confusion for s in self.scores.splits]
        return _Confusion(np.sum(counts, axis=0), self.result.classes) if counts[0] else None


@dataclass(frozen=True, slots=True)
class _Confusion:
    """Counts over all splits, and how they are shown."""

    counts: Int64
    classes: tuple[str, ...]

    @property
    def shares(self) -> Any:
        return self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)

    @property
    def is_small(self) -> bool:
        return len(self.classes) <= _LABELLED_CELLS

    @property
    def rows(self) -> list[tuple[str, list[tuple[int, int]]]]:
        """Of every true class: counts and shades in per cent."""
        # The square root lets single errors show beside a full diagonal.
        shades = np.ceil(SHADE_PER_CENT * np.sqrt(self.shares)).astype(int)
        return [
            (name, list(zip(counts, shade, strict=True)))
            for name, counts, shade in zip(self.classes, self.counts.tolist(), shades.tolist(), strict=True)
        ]

    @property
    def picture(self) -> str:
        """A pixel per cell; bright where there is much. The page uses it as a mask over its own colour."""
        grey = np.round(255 * np.sqrt(self.shares)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(grey).save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

    @property
    def errors(self) -> list[tuple[str, str, int, str]]:
        """The most frequent ones: true class, taken for, how often, share of the true class."""
        off = self.counts * (1 - np.eye(len(self.classes), dtype=np.int64))
        order = np.argsort(-off, axis=None, kind="stable")[:_CONFUSIONS]
        pairs = [divmod(int(place), len(self.classes)) for place in order]
        return [
            (self.classes[i], self.classes[j], int(off[i, j]), f"{100 * self.shares[i, j]:.0f}")
            for i, j in pairs
            if off[i, j]
        ]


@dataclass(frozen=True, slots=True)
class _Section:
    """The results on one dataset, and what can be seen only side by side."""

    dataset: str
    title: str
    results: list[_Shown]

    @property
    def ends(self) -> tuple[float, float]:
        """Of the axis that all values of the section are drawn on, in [0, 1]."""
        values = [end for shown in self.results for end in shown.interval]
        values += [shown.entry.comparison.row.value for shown in self.results if shown.entry.comparison]
        margin = max(0.01, 0.08 * (max(values) - min(values)))
        return max(0.0, min(values) - margin), min(1.0, max(values) + margin)

    def place(self, value: float) -> str:
        """Return where on the axis a value is, in per cent of its length."""
        low, high = self.ends
        return f"{100 * min(1.0, max(0.0, (value - low) / (high - low))):.1f}"

    @property
    def ablation(self) -> Markup:
        """Scores over scales: a point for a single scale, a line from the first to the last for several."""
        groups: dict[str, list[_Shown]] = {}
        for shown in self.results:
            groups.setdefault(shown.nets, []).append(shown)
        series: list[Series] = []
        for nets, group in groups.items():
            singles = {s.result.recipe["features"]["scales"][0]: s for s in group if s.aggregate == _NETS_SINGLE}
            if singles:
                points = [(float(side), 100 * s.scores.mean) for side, s in sorted(singles.items())]
                series.append(Series(f"net {nets}: single scales", points))
            for shown in group:
                sides = shown.result.recipe["features"]["scales"]
                if len(sides) > 1:
                    value = 100 * shown.scores.mean
                    name = f"net {nets}: {shown.aggregate} of {shown.scales}"
                    series.append(Series(name, [(float(sides[0]), value), (float(sides[-1]), value)]))
        if len(series) < 2:
            return Markup("")
        sides = sorted({float(side) for s in self.results for side in s.result.recipe["features"]["scales"]})
        y = Axis(_axis_label(self.results[0].result))
        x = Axis("short side, px", ticks=tuple(sides))
        return line_chart(series, title="Scales and their aggregation", x=x, y=y)

    @property
    def low_shot(self) -> Markup:
        """Scores over the number of training images."""
        series = []
        for shown in self.results:
            by_count = [(v.train_per_class, v) for v in shown.result.scores if v.train_per_class is not None]
            for name in dict.fromkeys(v.name for _, v in by_count):
                ours = [(count, v) for count, v in by_count if v.name == name]
                points = [(float(count), 100 * v.mean) for count, v in ours]
                spread = [(100 * (v.mean - (v.std or 0)), 100 * (v.mean + (v.std or 0))) for _, v in ours]
                series.append(Series(f"{shown.result.recipe_name}: {name}", points, spread))
        if not series:
            return Markup("")
        counts = tuple(sorted({p[0] for s in series for p in s.points}))
        x = Axis("training images per class", log=True, ticks=counts)
        return line_chart(series, title="Few training images", x=x, y=Axis(_axis_label(self.results[0].result)))


def _axis_label(result: Result) -> str:
    return f"{result.metric.replace('mean average precision', 'mAP')}, %"


def _sections(results: Sequence[_Shown]) -> list[_Section]:
    by_dataset: dict[str, list[_Shown]] = {}
    for shown in results:
        by_dataset.setdefault(shown.result.dataset, []).append(shown)
    return [_Section(name, group[0].result.dataset_title, group) for name, group in by_dataset.items()]
