"""The results on one dataset side by side, in the words of the page over results."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from transferbench.reporting.charts import Axis, Series, line_chart
from transferbench.reporting.shown import SINGLE_SCALE, Shown, score_axis


@dataclass(frozen=True, slots=True)
class Section:
    """The results on one dataset, and what can be seen only side by side.

    Parameters
    ----------
    dataset, title : str
        Its name, and its name for people.
    results : list of Shown
        At least one.
    """

    dataset: str
    title: str
    results: list[Shown]

    @property
    def ends(self) -> tuple[float, float]:
        """Of the axis that all values of the section are drawn on, in [0, 1]."""
        values = [end for shown in self.results for end in shown.interval]
        values += [shown.entry.comparison.row.value for shown in self.results if shown.entry.comparison]
        margin = max(0.01, 0.08 * (max(values) - min(values)))
        return max(0.0, min(values) - margin), min(1.0, max(values) + margin)

    @property
    def spread_words(self) -> str:
        """What is drawn around the values; empty if nothing is."""
        if self.results[0].interval_words:
            return "95 % interval"
        return "± one standard deviation" if any(low < high for low, high in (s.interval for s in self.results)) else ""

    def place(self, value: float) -> str:
        """Find a value's place on the axis.

        Parameters
        ----------
        value : float
            In [0, 1].

        Returns
        -------
        str
            In per cent of the axis's length.
        """
        low, high = self.ends
        return f"{100 * min(1.0, max(0.0, (value - low) / (high - low))):.1f}"

    @property
    def ablation(self) -> Markup:
        """Scores over scales: a point for a single scale, a line from the first to the last for several.

        Low-shot curves have a chart of their own; their ends would stand on the line of the whole protocol.
        """
        groups: dict[str, list[Shown]] = {}
        for shown in self.results:
            if shown.scores.train_per_class is None:
                groups.setdefault(shown.nets, []).append(shown)
        series: list[Series] = []
        for nets, group in groups.items():
            singles = {s.result.recipe["features"]["scales"][0]: s for s in group if s.aggregate == SINGLE_SCALE}
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
        y = score_axis(self.results[0].result)
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
        return line_chart(series, title="Few training images", x=x, y=score_axis(self.results[0].result))


def sections(results: Sequence[Shown]) -> list[Section]:
    """Put the results on the same dataset together.

    Parameters
    ----------
    results : sequence of Shown
        In order.

    Returns
    -------
    list of Section
        Datasets in order of appearance.
    """
    by_dataset: dict[str, list[Shown]] = {}
    for shown in results:
        by_dataset.setdefault(shown.result.dataset, []).append(shown)
    return [Section(name, group[0].result.dataset_title, group) for name, group in by_dataset.items()]
