"""The HTML page of a pretraining run: its curves, its epochs as numbers, its recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from transferbench.reporting.charts import CHART_CSS, COLOURS_CSS, Axis, Point, Series, line_chart
from transferbench.reporting.page import render_page

Columns = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStory:
    """What a page of a run tells.

    Parameters
    ----------
    name : str
        Of the run.
    state : str
        ``finished``, ``stopped`` or who trains it.
    facts : sequence of tuple of str
        Names and values.
    steps : mapping of str to sequence of float
        Columns ``step``, ``epoch``, ``loss``, ``learning_rate``, ``images_per_s``; may be empty.
    epochs : mapping of str to sequence of float
        Columns ``epoch``, ``loss``, ``accuracy``, ``learning_rate`` and, if it was measured, ``top5``; may be empty.
    recipe : mapping
        Of a finished run.
    """

    name: str
    state: str
    facts: Sequence[tuple[str, str]]
    steps: Columns
    epochs: Columns
    recipe: Mapping[str, Any] = field(default_factory=dict)


def run_page(story: RunStory) -> str:
    """Write the page of a run.

    Parameters
    ----------
    story : RunStory
        What to tell.

    Returns
    -------
    str
        A whole HTML document that needs no other file.
    """
    head = tuple(story.epochs)
    rows = [[_number(value) for value in row] for row in zip(*story.epochs.values(), strict=True)]
    return render_page(
        "run.html.j2",
        name=story.name,
        state=story.state,
        facts=story.facts,
        style=Markup(COLOURS_CSS + CHART_CSS),  # noqa: S704 - text of our own
        charts=_charts(story),
        head=[title.replace("_", " ") for title in head],
        rows=rows,
        recipe=story.recipe,
    )


def _charts(story: RunStory) -> list[Markup]:
    steps, epochs, axis = story.steps, story.epochs, Axis("epochs")
    charts = []
    losses = [Series("of the last steps", _points(steps, "loss")), Series("mean of the epoch", _points(epochs, "loss"))]
    charts += _chart(losses, "Loss", axis, Axis("cross-entropy"))
    errors = [
        Series("top-1", [(x, 100 * (1 - y)) for x, y in _points(epochs, "accuracy")]),
        Series("top-5", [(x, 100 * (1 - y)) for x, y in _points(epochs, "top5")]),
    ]
    charts += _chart(errors, "Error on held-out images", axis, Axis("%", low=0.0, within=(0.0, 100.0)))
    rate = _points(steps, "learning_rate") or _points(epochs, "learning_rate")
    positive = [point for point in rate if point[1] > 0]  # a cosine ends at zero
    charts += _chart([Series("rate", positive)], "Learning rate", axis, Axis("rate", log=True))
    speed = Series("speed", _points(steps, "images_per_s"))
    return charts + _chart([speed], "Speed", axis, Axis("images/s", low=0.0))


def _chart(series: Sequence[Series], title: str, x: Axis, y: Axis) -> list[Markup]:
    drawn = [one for one in series if one.points]
    return [line_chart(drawn, title=title, x=x, y=y, legend=len(drawn) > 1)] if drawn else []


def _points(columns: Columns, name: str) -> list[Point]:
    return list(zip(columns["epoch"], columns[name], strict=True)) if name in columns else []


def _number(value: float) -> str:
    return f"{value:g}"
