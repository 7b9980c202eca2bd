"""Line charts as SVG inside HTML: a few kilobytes each, colours by style sheet (so light and dark), read out in words.

A series is told by its mark and its dashes as well as by its colour. The same values give the same text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise

from markupsafe import Markup

Point = tuple[float, float]

WIDTH, HEIGHT = 400, 264  # as wide as a phone, so that its text stays readable there
_RIGHT, _TOP, _BOTTOM = 14, 10, 58
_LABEL, _DIGIT = 30, 8.5  # room at the left: for the label, and for every character of the longest tick
_MOST_POINTS = 240
_MARKED = 24  # a longer line is drawn without a mark on every point
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 4")
_FORMS = ("circle", "square", "diamond", "up", "down", "cross")
N_COLOURS = 6

CHART_CSS = (resources.files("transferbench.reporting") / "templates" / "charts.css").read_text(encoding="utf-8")
"""What the charts need of a page's style sheet, beside `COLOURS_CSS`."""

COLOURS = {
    "light": {
        "page": "#ffffff",
        "card": "#f5f7f9",
        "ink": "#1b1f24",
        "soft": "#525a64",
        "line": "#d4d9df",
        "accent": "#0067a3",
        "good": "#00664a",
        "bad": "#a63c00",
        "k0": "#0067a3",
        "k1": "#b84f00",
        "k2": "#007a58",
        "k3": "#a1437f",
        "k4": "#6b5b00",
        "k5": "#4d5560",
    },
    "dark": {
        "page": "#0e1217",
        "card": "#171c23",
        "ink": "#e8edf2",
        "soft": "#a7b0ba",
        "line": "#333b45",
        "accent": "#62b8ee",
        "good": "#4fd0a4",
        "bad": "#ffa869",
        "k0": "#62b8ee",
        "k1": "#f0a03c",
        "k2": "#3fc79a",
        "k3": "#e39ac4",
        "k4": "#e5d858",
        "k5": "#b4bdc7",
    },
}
"""Okabe & Ito's hues, told apart by readers with any common colour-vision deficiency, moved to the lightness that each
background needs: 4.5:1 for text, 3:1 for lines."""


def _properties(theme: str) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in COLOURS[theme].items())


COLOURS_CSS = (
    f":root {{ color-scheme: light dark; {_properties('light')} }}\n"
    f"@media (prefers-color-scheme: dark) {{ :root {{ {_properties('dark')} }} }}\n"
    f"@media print {{ :root {{ color-scheme: light; {_properties('light')} }} }}\n"
)
"""The colours as CSS variables: light, dark, and light again on paper."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a chart.

    Parameters
    ----------
    label : str
        With the unit.
    log : bool
        Whether distances are ratios; then all values are positive.
    low, high : float, optional
        Ends that are always shown.
    ticks : tuple of float, optional
        Instead of round numbers.
    within : tuple of two floats, optional
        What values can be at all, for instance 0 and 100: the axis ends there at the latest, and so do spreads.
    span : float
        How much the axis shows at least, so that a difference of no weight does not fill the chart.
    """

    label: str
    log: bool = False
    low: float | None = None
    high: float | None = None
    ticks: tuple[float, ...] | None = None
    within: tuple[float, float] | None = None
    span: float = 0.0

    def clipped(self, value: float) -> float:
        """Keep a value to what is possible.

        Parameters
        ----------
        value : float
            In the axis's unit.

        Returns
        -------
        float
            The same, or the end that it lies beyond.
        """
        return value if self.within is None else min(max(value, self.within[0]), self.within[1])


@dataclass(frozen=True, slots=True)
class Series:
    """One line.

    Parameters
    ----------
    name : str
        For the legend.
    points : sequence of tuple of float
        x and y, by ascending x.
    spread : sequence of tuple of float, optional
        Lower and upper end of every point's interval.
    """

    name: str
    points: Sequence[Point]
    spread: Sequence[Point] | None = None


def line_chart(series: Sequence[Series], *, title: str, x: Axis, y: Axis, legend: bool = True) -> Markup:
    """Draw lines, and say in words what they show to readers who do not see it.

    Parameters
    ----------
    series : sequence of Series
        At least one, each with at least one point; from the seventh on colours repeat.
    title : str
        What is shown.
    x, y : Axis
        What is on the axes.
    legend : bool
        Whether to name the series under the chart.

    Returns
    -------
    Markup
        A ``figure``; the page needs `CHART_CSS` and `COLOURS_CSS`.

    Raises
    ------
    ValueError
        If there is nothing to draw, or a value is not finite, or not positive on a logarithmic axis.
    """
    _check(series, x, y)
    shown = [_thinned(_clipped(one, y)) for one in series]
    heights = [p[1] for s in shown for p in s.points] + [end for s in shown for ends in s.spread or () for end in ends]
    up = _Scale.of(y, heights, HEIGHT - _BOTTOM, _TOP)
    left = round(_LABEL + _DIGIT * max(map(len, up.labels)))
    across = _Scale.of(x, [p[0] for s in shown for p in s.points], left, WIDTH - _RIGHT)
    parts = [_grid(across, up, x, y), *(_line(s, number, across, up) for number, s in enumerate(shown))]
    words = f"{title}. {' '.join(_in_words(s) for s in series)}"
    svg = Markup('<svg class="plot" role="img" viewBox="0 0 {} {}" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, words, Markup("").join(parts)
    )
    names = _legend(series) if legend else Markup("")
    return Markup('<figure class="chart"><figcaption>{}</figcaption>{}{}</figure>').format(title, svg, names)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values to places in the picture."""

    low: float
    high: float
    start: float
    end: float
    log: bool
    ticks: tuple[float, ...]

    @classmethod
    def of(cls, axis: Axis, values: Sequence[float], start: float, end: float) -> "_Scale":
        low = min([*values, *([] if axis.low is None else [axis.low])])
        high = max([*values, *([] if axis.high is None else [axis.high])])
        if low == high:
            low, high = (low / 2, high * 2) if axis.log else (low - 0.5, high + 0.5)
        lacking = max(0.0, axis.span - (high - low)) / 2
        low, high = axis.clipped(low - lacking), axis.clipped(high + lacking)
        ticks = axis.ticks or (_powers(low, high) if axis.log else _round_numbers(low, high))
        low, high = (axis.clipped(end) for end in (min(low, *ticks), max(high, *ticks)))
        return cls(low, high, start, end, axis.log, tuple(t for t in ticks if low <= t <= high))

    @property
    def labels(self) -> tuple[str, ...]:
        """What stands at the ticks: where distances are differences, all with as many digits after the point."""
        short = [f"{tick:g}" for tick in self.ticks]
        digits = max((len(text.partition(".")[2]) for text in short if "e" not in text), default=0)
        return tuple(short if self.log else (f"{tick:.{digits}f}" for tick in self.ticks))

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)


def _check(series: Sequence[Series], x: Axis, y: Axis) -> None:
    if not series or not all(s.points for s in series):
        msg = "a chart needs a series, and every series a point"
        raise ValueError(msg)
    for axis, number in ((x, 0), (y, 1)):
        values = [p[number] for s in series for p in s.points]
        if not all(map(math.isfinite, values)) or (axis.log and min(values) <= 0):
            msg = f"{axis.label}: every value must be finite{' and positive' if axis.log else ''}"
            raise ValueError(msg)


def _round_numbers(low: float, high: float) -> tuple[float, ...]:
    """Four to seven multiples of 1, 2 or 5 times a power of ten, the outer ones outside the values."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(number * step, 12) for number in range(first, last + 1))


def _powers(low: float, high: float) -> tuple[float, ...]:
    """Powers of ten within the values, thinned to seven; of a short range 1, 2 and 5 times them, also around it."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    within = [10.0**n for n in range(first, last + 1) if low <= 10.0**n <= high]
    if len(within) < 3:
        steps = [m * 10.0**n for n in range(first, last + 1) for m in (1, 2, 5)]
        below = max(step for step in steps if step <= low * 1.001)
        above = min((step for step in steps if step >= high * 0.999), default=steps[-1])
        return tuple(step for step in steps if below <= step <= above)
    return tuple(within[:: -(-len(within) // 7)])


def _grid(across: _Scale, up: _Scale, x: Axis, y: Axis) -> Markup:
    left, bottom = across.start, HEIGHT - _BOTTOM
    level = Markup('<path class="grid" d="M{} {}H{}"/><text x="{}" y="{}" text-anchor="end">{}</text>')
    rows = [
        level.format(left, up(t), WIDTH - _RIGHT, left - 6, up(t) + 4, label)
        for t, label in zip(up.ticks, up.labels, strict=True)
    ]
    below = Markup('<path class="grid" d="M{0} {1}v4"/><text x="{0}" y="{2}" text-anchor="middle">{3}</text>')
    columns = [
        below.format(across(t), bottom, bottom + 24, label)
        for t, label in zip(across.ticks, across.labels, strict=True)
    ]
    middle = (_TOP + bottom) / 2
    labels = Markup(
        '<text x="{}" y="{}" text-anchor="middle">{}</text>'
        '<text transform="translate(12 {}) rotate(-90)" text-anchor="middle">{}</text>'
    ).format((left + WIDTH - _RIGHT) / 2, HEIGHT - 8, x.label, middle, y.label)
    return Markup("").join([*rows, *columns, labels])


def _line(series: Series, number: int, across: _Scale, up: _Scale) -> Markup:
    places = [(across(px), up(py)) for px, py in series.points]
    dash = _DASHES[_style(number)]
    curve = Markup('<path class="curve"{} d="M{}"/>').format(
        Markup(' stroke-dasharray="{}"').format(dash) if dash else "", "L".join(f"{px:g} {py:g}" for px, py in places)
    )
    spread = Markup("")
    if series.spread is not None:
        ends = [(across(p[0]), up(low), up(high)) for p, (low, high) in zip(series.points, series.spread, strict=True)]
        drawn = "".join(
            f"M{px:g} {low:g}V{high:g}M{px - 3:g} {low:g}h6M{px - 3:g} {high:g}h6" for px, low, high in ends
        )
        spread = Markup('<path class="whisker" d="{}"/>').format(drawn)
    marks = "".join(_mark(number, px, py) for px, py in places) if len(places) <= _MARKED else ""
    filled = Markup('<path class="mark" d="{}"/>').format(marks) if marks else Markup("")
    tip = Markup("<title>{}</title>").format(series.name)
    return Markup('<g class="k{}">{}{}{}{}</g>').format(number % N_COLOURS, tip, spread, curve, filled)


def _style(number: int) -> int:
    """Of dashes and forms: another one each time the colours begin anew, so that no two lines look alike."""
    return (number + number // N_COLOURS) % len(_FORMS)


def _mark(number: int, x: float, y: float, r: float = 4) -> str:
    match _FORMS[_style(number)]:
        case "circle":
            return f"M{x - r:g} {y:g}a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0z"
        case "square":
            return f"M{x - r:g} {y - r:g}h{2 * r:g}v{2 * r:g}h{-2 * r:g}z"
        case "diamond":
            return f"M{x:g} {y - r - 1:g}l{r + 1:g} {r + 1:g}l{-r - 1:g} {r + 1:g}l{-r - 1:g} {-r - 1:g}z"
        case "up":
            return f"M{x:g} {y - r - 1:g}l{r + 1:g} {2 * r:g}h{-2 * r - 2:g}z"
        case "down":
            return f"M{x:g} {y + r + 1:g}l{r + 1:g} {-2 * r:g}h{-2 * r - 2:g}z"
        case _:
            return (
                f"M{x - 1:g} {y - r:g}h2v{r - 1:g}h{r - 1:g}v2h{1 - r:g}v{r - 1:g}h-2v{1 - r:g}h{1 - r:g}v-2h{r - 1:g}z"
            )


def _legend(series: Sequence[Series]) -> Markup:
    item = Markup(
        '<li><svg class="k{}" viewBox="0 0 34 12" aria-hidden="true"><path class="curve"{} d="M1 6H33"/>'
        '<path class="mark" d="{}"/></svg>{}</li>'
    )
    items = []
    for number, one in enumerate(series):
        dash = _DASHES[_style(number)]
        dashes = Markup(' stroke-dasharray="{}"').format(dash) if dash else ""
        items.append(item.format(number % N_COLOURS, dashes, _mark(number, 17, 6), one.name))
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def _in_words(series: Series) -> str:
    (x0, y0), (x1, y1) = series.points[0], series.points[-1]
    if len(series.points) == 1:
        return f"{series.name}: {y0:.4g} at {x0:g}."
    top = max(series.points, key=lambda p: p[1])
    return f"{series.name}: from {y0:.4g} at {x0:g} to {y1:.4g} at {x1:g}, highest {top[1]:.4g} at {top[0]:g}."


def _clipped(series: Series, y: Axis) -> Series:
    """End spreads where the values can: a mean of 99.8 with a deviation of 0.4 does not reach 100.2 per cent."""
    if series.spread is None or y.within is None:
        return series
    return Series(series.name, series.points, [(y.clipped(low), y.clipped(high)) for low, high in series.spread])


def _thinned(series: Series) -> Series:
    """Keep the lowest and the highest point of every stretch, so that a long line keeps its peaks."""
    points = series.points
    if len(points) <= _MOST_POINTS or series.spread is not None:
        return series
    edges = [round(n * len(points) / (_MOST_POINTS // 2)) for n in range(_MOST_POINTS // 2 + 1)]
    kept: set[int] = {0, len(points) - 1}
    for first, last in pairwise(edges):
        stretch = range(first, last)
        kept |= {min(stretch, key=lambda i: points[i][1]), max(stretch, key=lambda i: points[i][1])}
    return Series(series.name, [points[i] for i in sorted(kept)])
