"""A result in the words of the page over results."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from transferbench.reporting.charts import Axis, Series, line_chart
from transferbench.reporting.deviations import own
from transferbench.reporting.overview import Reported, nets_of, scales_of, verdict_of
from transferbench.reporting.report import headline, otherwise, provenance_rows, remarks, stage_rows
from transferbench.reporting.result import Result, VariantScore
from transferbench.reporting.tables import percent
from transferbench.reporting.views import View
from transferbench.types.arrays import Int64

SHADE_PER_CENT = 45
"""The darkest cell of a confusion matrix: the number in it stays readable."""
SINGLE_SCALE = "single scale"
_LABELLED_CELLS = 20
_BESIDE = 12
_CONFUSIONS = 12


@dataclass(frozen=True, slots=True)
class Shown:
    """A result in the words of the template.

    Parameters
    ----------
    number : int
        From 1, for the places that links lead to.
    view : View
        The result, and what is drawn of it.
    """

    number: int
    view: View

    @property
    def entry(self) -> Reported:
        """The result and its comparison."""
        return self.view.entry

    @property
    def result(self) -> Result:
        """What was found."""
        return self.entry.result

    @property
    def scores(self) -> VariantScore:
        """The score that the recipe is about, without the floors."""
        return own(self.result)

    @property
    def nets(self) -> str:
        """As ``D & E``."""
        return nets_of(self.result)

    @property
    def scales(self) -> str:
        """As ``256, 384, 512``."""
        return scales_of(self.result)

    @property
    def aggregate(self) -> str:
        """How the scales became one row."""
        return SINGLE_SCALE if len(self.result.recipe["features"]["scales"]) == 1 else self._kind

    @property
    def _kind(self) -> str:
        return str(self.result.recipe["aggregate"]["kind"])

    @property
    def verdict(self) -> str:
        """Of the comparison, or that there is none."""
        return verdict_of(self.entry)

    @property
    def sign(self) -> str:
        """What stands before the verdict; told by its form, not by its colour."""
        return {"within": "✓", "outside": "✗", "not comparable": "≠"}.get(self.verdict, "–")

    @property
    def interval(self) -> tuple[float, float]:
        """What to draw around the value: the stored interval, else a standard deviation to each side."""
        stored = self.scores.interval
        spread = self.scores.std or 0.0
        low, high = stored or (self.scores.mean - spread, self.scores.mean + spread)
        return float(low), float(high)

    @property
    def has_spread(self) -> bool:
        """Whether any score has a deviation over splits."""
        return any(variant.std is not None for variant in self.result.scores)

    @property
    def interval_words(self) -> str:
        """The stored interval; empty if there is none."""
        stored = self.scores.interval
        return f"95 % interval over test images {percent(stored[0])} to {percent(stored[1])}" if stored else ""

    @property
    def headline(self) -> str:
        """What was measured, in one line."""
        return headline(self.result)

    @property
    def remarks(self) -> list[str]:
        """What a reader must know; without what the page says elsewhere."""
        told = remarks(self.result, self.entry.comparison)
        return [line for line in told if not line.endswith(":") and not line.startswith(("Reference:", "±"))]

    @property
    def otherwise(self) -> list[str]:
        """What was done otherwise than for the published number."""
        return otherwise(self.entry.comparison)

    @property
    def provenance(self) -> list[tuple[str, str]]:
        """What the result rests on: names and values."""
        return [*provenance_rows(self.result), ("folder", str(self.entry.folder))]

    @property
    def stages(self) -> Sequence[Sequence[str]]:
        """Of the command that made it."""
        return stage_rows(self.result)

    @property
    def compared(self) -> list[VariantScore]:
        """The own features and the floors, without smaller training parts."""
        count = self.scores.train_per_class
        others = [v for v in self.result.scores if v.name != self.scores.name and v.train_per_class == count]
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
        x, y = Axis("C", log=True), score_axis(self.result)
        return line_chart(series, title="Choice of C, on validation images", x=x, y=y, legend=len(series) > 1)

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
    def confusion(self) -> "Confusion | None":
        """Counts over all splits; None where images have several classes."""
        counts = [s.confusion for s in self.scores.splits]
        return Confusion(np.sum(counts, axis=0), self.result.classes) if counts[0] else None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts over all splits, and how they are shown.

    Parameters
    ----------
    counts : ndarray of int64 of shape (n_classes, n_classes)
        Rows are true classes, columns predicted ones.
    classes : tuple of str
        Names.
    """

    counts: Int64
    classes: tuple[str, ...]

    @property
    def shares(self) -> Any:
        """Counts as shares of the true class, of shape (n_classes, n_classes)."""
        return self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)

    @property
    def is_small(self) -> bool:
        """Whether a table of numbers can show it."""
        return len(self.classes) <= _LABELLED_CELLS

    @property
    def is_narrow(self) -> bool:
        """Whether that table fits beside another."""
        return len(self.classes) <= _BESIDE

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


def score_axis(result: Result) -> Axis:
    """Return the axis that scores of a result are drawn on.

    Parameters
    ----------
    result : Result
        Says by its metric what the scores are.

    Returns
    -------
    Axis
        In per cent.
    """
    return Axis(f"{result.metric.replace('mean average precision', 'mAP')}, %", within=(0.0, 100.0), span=2.0)
