"""Pictures of a result as SVG text. Owns matplotlib; the same result gives the same bytes."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from transferbench.reporting.result import Result

# Okabe & Ito's colours: told apart by readers with any common colour-vision deficiency.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
_LABELLED_CELLS = 20


def classes_svg(result: Result) -> str:
    """Draw the value of every class, a bar per variant.

    Parameters
    ----------
    result : Result
        What was found.

    Returns
    -------
    str
        An ``svg`` element.
    """
    n_classes, n_variants = len(result.classes), len(result.scores)
    with _style():
        figure = Figure(figsize=(max(6.4, 0.12 * n_classes * n_variants + 2), 3.2), layout="constrained")
        axes = figure.subplots()
        for number, variant in enumerate(result.scores):
            values = 100 * np.array([split.per_class for split in variant.splits])
            spread = values.std(axis=0, ddof=1) if len(values) > 1 else None
            places = np.arange(n_classes) + (number - (n_variants - 1) / 2) * 0.8 / n_variants
            axes.bar(
                places,
                values.mean(axis=0),
                0.8 / n_variants,
                yerr=spread,
                label=variant.title,
                color=COLOURS[number % len(COLOURS)],
                error_kw={"lw": 0.8},
            )
        axes.set(xlabel="class", ylabel=f"{result.per_class_measure}, %", ylim=(0, 105), xlim=(-0.6, n_classes - 0.4))
        axes.set_xticks(range(n_classes), result.classes, rotation=0 if n_classes <= _LABELLED_CELLS else 90)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside upper center", ncols=n_variants, frameon=False)
        return _svg(figure)


def confusion_svg(result: Result) -> str:
    """Draw the confusion matrix of the recipe's own features, summed over the splits.

    Parameters
    ----------
    result : Result
        What was found.

    Returns
    -------
    str
        An ``svg`` element; rows are true classes, each row in per cent. Empty where images have several classes.
    """
    if not result.scores[0].splits[0].confusion:
        return ""
    counts = np.sum([split.confusion for split in result.scores[0].splits], axis=0)
    shares = 100 * counts / counts.sum(axis=1, keepdims=True)
    n_classes = len(result.classes)
    with _style():
        figure = Figure(figsize=(5.6, 4.8), layout="constrained")
        axes = figure.subplots()
        # The square root lets single errors show beside a full diagonal.
        picture = axes.imshow(shares, cmap="Blues", norm=mpl.colors.PowerNorm(0.5, 0, 100))
        axes.set(xlabel="predicted class", ylabel="true class")
        if n_classes <= _LABELLED_CELLS:
            axes.set_xticks(range(n_classes), result.classes)
            axes.set_yticks(range(n_classes), result.classes)
            for row, column in zip(*np.nonzero(counts), strict=True):
                colour = "white" if shares[row, column] > 40 else "black"
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
        figure.colorbar(picture, ax=axes, label="% of the true class", ticks=[0, 5, 25, 50, 100])
        return _svg(figure)


@contextmanager
def _style() -> Iterator[None]:
    # Text stays text (small, searchable); the salt makes element names, and so the bytes, repeatable.
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "transferbench", "font.family": "sans-serif", "font.size": 10}
    ):
        yield


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
