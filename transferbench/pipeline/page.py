"""What a page of results needs from the other boxes: curves from stored scores, and small pictures of test images."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from transferbench.data import Dataset
from transferbench.errors import ResultError, TransferbenchError
from transferbench.evaluation.metrics import precision_recall
from transferbench.home import Home
from transferbench.pipeline.datasets import WHOLE, DataOptions, target
from transferbench.reporting.deviations import own
from transferbench.reporting.overview import Reported
from transferbench.reporting.result import Result
from transferbench.reporting.test_scores import SplitScores, load_test_scores
from transferbench.reporting.views import N_EXAMPLES, Curve, Example, View, examples, thinned

THUMBNAIL_PX = 128
PICTURES_BYTES = 1_200_000
"""Of all pictures of a page together: it stays below 3 MB and opens at once on a phone."""
_QUALITY = 62


def views(
    entries: Sequence[Reported], home: Home, data: DataOptions = WHOLE, *, images: bool = True
) -> tuple[tuple[View, ...], tuple[str, ...]]:
    """Gather what the page draws of every result.

    Parameters
    ----------
    entries : sequence of Reported
        In order.
    home : Home
        The work folder.
    data : DataOptions
        Where the images are.
    images : bool
        Whether to show test images.

    Returns
    -------
    views, notes : tuple of View, tuple of str
        And what is missing, with the reason.
    """
    notes: dict[str, None] = {}
    bare = []
    for entry in entries:
        try:
            bare.append(_view(entry))
        except ResultError as problem:
            notes[f"no single images of {entry.result.recipe_name}: {_first_line(problem)}"] = None
            bare.append(View(entry))
    if images:
        album = _Album(home, data, notes, PICTURES_BYTES // max(1, 2 * N_EXAMPLES * len(entries)))
        bare = [album.filled(view) for view in bare]
    return tuple(bare), tuple(notes)


def _view(entry: Reported) -> View:
    result = entry.result
    if result.test_scores_sha256 is None:
        return View(entry)
    number = result.scores.index(own(result))
    stored = load_test_scores(entry.folder, result.test_scores_sha256)
    scores = next(one for one in stored if one.variant == number and one.truth is not None)
    best, worst = examples(scores, result.classes)
    return View(entry, tuple(_curves(result, number, scores)), best, worst)


def _curves(result: Result, number: int, scores: SplitScores) -> Iterator[Curve]:
    if scores.best is not None or scores.truth is None:
        return
    truth = scores.truth.astype(np.int8)
    values = result.scores[number].splits[0].per_class
    for column, name in enumerate(result.classes):
        recall, precision = precision_recall(truth[:, column], scores.values[:, column])
        yield Curve(name, values[column], thinned(recall, precision))


class _Album:
    """Opens every dataset once, and stops where a picture would be too large."""

    def __init__(self, home: Home, data: DataOptions, notes: dict[str, None], most_bytes: int) -> None:
        self._home, self._data, self._notes, self._most_bytes = home, data, notes, most_bytes
        self._datasets: dict[str, Dataset | None] = {}

    def filled(self, view: View) -> View:
        if not (view.best or view.worst):
            return view
        name = view.entry.result.dataset
        if name not in self._datasets:
            self._datasets[name] = self._opened(view.entry.result)
        dataset = self._datasets[name]
        if dataset is None:
            return view
        return replace(
            view,
            best=tuple(self._with_picture(dataset, one) for one in view.best),
            worst=tuple(self._with_picture(dataset, one) for one in view.worst),
        )

    def _opened(self, result: Result) -> Dataset | None:
        try:  # by the name that opens it: records of the user's own data and of plugins have another
            return target(result.recipe["dataset"], self._home, self._data)
        except TransferbenchError as problem:
            self._notes[f"no pictures of {result.dataset}: {_first_line(problem)}"] = None
            return None

    def _with_picture(self, dataset: Dataset, example: Example) -> Example:
        try:
            picture = thumbnail(dataset.image(example.image_id))
        except (TransferbenchError, KeyError) as problem:
            self._notes[f"no picture of {example.image_id}: {_first_line(problem)}"] = None
            return example
        return replace(example, picture=picture) if len(picture) <= self._most_bytes else example


def thumbnail(image: Image.Image, side_px: int = THUMBNAIL_PX) -> str:
    """Make a small picture that stands in a page's own text.

    Parameters
    ----------
    image : Image
        In mode RGB.
    side_px : int
        Of its longer side.

    Returns
    -------
    str
        A data URI; a JPEG.
    """
    small = image.convert("RGB")
    small.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _first_line(problem: Exception) -> str:
    return str(problem).partition("\n")[0]
