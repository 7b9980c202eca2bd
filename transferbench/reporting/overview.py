"""Several results side by side, each beside its published number: text, Markdown and CSV, from the same rows."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transferbench.reporting.compare import Comparison
from transferbench.reporting.deviations import own
from transferbench.reporting.result import Result
from transferbench.reporting.tables import Cells, markdown_table, percent, text_table

HEAD = ("recipe", "dataset", "nets", "scales", "aggregate", "ours", "paper", "difference", "verdict")
NUMBERS = ("ours", "paper", "difference")
NO_CLAIM, TRIAL = "no claim", "trial"
_CSV = (
    "recipe", "dataset", "metric", "nets", "scales", "aggregate", "splits", "ours", "std", "interval_low",
    "interval_high", "row", "paper", "paper_spread", "difference", "tolerance", "verdict", "deviations", "created",
    "inputs_sha256", "folder",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reported:
    """A result, and the number it claims to reproduce.

    Parameters
    ----------
    folder : Path
        Where it is stored.
    result : Result
        What was found.
    comparison : Comparison or None
        None if its recipe claims no row.
    """

    folder: Path
    result: Result
    comparison: Comparison | None


def nets_of(result: Result) -> str:
    """Name the nets of a result.

    Parameters
    ----------
    result : Result
        With its recipe.

    Returns
    -------
    str
        For instance ``D & E``.
    """
    return " & ".join(net["name"] for net in result.recipe["features"]["nets"])


def scales_of(result: Result) -> str:
    """Name the scales of a result.

    Parameters
    ----------
    result : Result
        With its recipe.

    Returns
    -------
    str
        For instance ``256, 384, 512``.
    """
    return ", ".join(map(str, result.recipe["features"]["scales"]))


def verdict_of(entry: Reported) -> str:
    """Say what a result is worth beside the published number.

    Parameters
    ----------
    entry : Reported
        With or without a comparison.

    Returns
    -------
    str
        Of the comparison; where there is none, `TRIAL` for numbers on a few images, else `NO_CLAIM`.
    """
    if entry.comparison is not None:
        return entry.comparison.verdict
    return NO_CLAIM if entry.result.limit is None else TRIAL


def overview_rows(entries: Sequence[Reported]) -> Cells:
    """Return the cells of the table of all results.

    Parameters
    ----------
    entries : sequence of Reported
        In order.

    Returns
    -------
    sequence of sequences of str
        A row each, columns as `HEAD`; numbers in brackets point to `footnotes`.
    """
    numbers = {text: number for number, text in enumerate(footnotes(entries), start=1)}
    return [_row(entry, numbers) for entry in entries]


def footnotes(entries: Sequence[Reported]) -> list[str]:
    """List every deviation once.

    Parameters
    ----------
    entries : sequence of Reported
        In order.

    Returns
    -------
    list of str
        In order of appearance.
    """
    return list(dict.fromkeys(d.text for e in entries if e.comparison for d in e.comparison.deviations))


def measured(entries: Sequence[Reported]) -> str:
    """Say what the numbers are.

    Parameters
    ----------
    entries : sequence of Reported
        In order.

    Returns
    -------
    str
        The unit, and the metric of every dataset.
    """
    by_metric: dict[str, dict[str, None]] = {}
    for entry in entries:
        by_metric.setdefault(entry.result.metric, {})[entry.result.dataset] = None
    told = [f"{', '.join(names)}: {metric}" for metric, names in by_metric.items()]
    return f"In per cent. {'; '.join(told)}."


def text_overview(entries: Sequence[Reported]) -> str:
    """Tell several results on a terminal.

    Parameters
    ----------
    entries : sequence of Reported
        In order.

    Returns
    -------
    str
        A table, and below it what was done otherwise than for the published numbers.
    """
    table = text_table(HEAD, overview_rows(entries), right=NUMBERS)
    return "\n".join([table, *_below(entries, "[{}] {}")])


def markdown_overview(entries: Sequence[Reported]) -> str:
    """Tell several results in Markdown.

    Parameters
    ----------
    entries : sequence of Reported
        In order.

    Returns
    -------
    str
        A table and remarks.
    """
    table = markdown_table(HEAD, overview_rows(entries), right=NUMBERS)
    return "\n".join([table, *_below(entries, "{}. {}")]) + "\n"


def csv_overview(entries: Sequence[Reported]) -> str:
    """Write several results for other programs.

    Parameters
    ----------
    entries : sequence of Reported
        In order.

    Returns
    -------
    str
        Comma-separated; scores in per cent, unrounded; several deviations in one field, parted by semicolons.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _CSV, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_csv_row, entries))
    return buffer.getvalue()


def _row(entry: Reported, numbers: dict[str, int]) -> list[str]:
    result, comparison = entry.result, entry.comparison
    scores = own(result)
    paper = difference = ""
    verdict = verdict_of(entry)
    if comparison is not None:
        paper = percent(comparison.row.value, comparison.row.spread)
        difference = f"{100 * comparison.difference:+.1f}"
        marks = "".join(f"[{number}]" for number in sorted(numbers[d.text] for d in comparison.deviations))
        verdict = f"{verdict} {marks}".strip()
    return [
        result.recipe_name,
        result.dataset,
        nets_of(result),
        scales_of(result),
        result.recipe["aggregate"]["kind"],
        percent(scores.mean, scores.std),
        paper,
        difference,
        verdict,
    ]


def _below(entries: Sequence[Reported], form: str) -> list[str]:
    lines = ["", measured(entries), "± is the standard deviation over the splits (n - 1)."]
    tolerances = sorted({100 * e.comparison.row.tolerance for e in entries if e.comparison})
    if tolerances:
        points = " or ".join(f"{tolerance:.1f}" for tolerance in tolerances)
        lines.append(f"within, outside: of the stated tolerance of {points} points around the published number.")
    notes = footnotes(entries)
    if notes:
        lines += ["", "Done otherwise than for the published number:", ""]
        lines += [form.format(number, text) for number, text in enumerate(notes, start=1)]
    return lines


def _csv_row(entry: Reported) -> dict[str, object]:
    result, comparison, scores = entry.result, entry.comparison, own(entry.result)
    interval = scores.interval or (None, None)
    row: dict[str, object] = {
        "recipe": result.recipe_name,
        "dataset": result.dataset,
        "metric": result.metric,
        "nets": nets_of(result),
        "scales": scales_of(result),
        "aggregate": result.recipe["aggregate"]["kind"],
        "splits": len(scores.splits),
        "ours": _per_cent(scores.mean),
        "std": _per_cent(scores.std),
        "interval_low": _per_cent(interval[0]),
        "interval_high": _per_cent(interval[1]),
        "verdict": verdict_of(entry),
        "created": result.created,
        "inputs_sha256": result.inputs_sha256,
        "folder": entry.folder,
    }
    if comparison is not None:
        row |= {
            "row": comparison.row.key,
            "paper": _per_cent(comparison.row.value),
            "paper_spread": _per_cent(comparison.row.spread),
            "difference": _per_cent(comparison.difference),
            "tolerance": _per_cent(comparison.row.tolerance),
            "deviations": "; ".join(d.text for d in comparison.deviations),
        }
    return row


def _per_cent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.6g}"
