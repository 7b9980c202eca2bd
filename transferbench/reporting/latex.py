"""Several results side by side as a table in a paper."""

from collections.abc import Sequence

from transferbench.reporting.compare import Comparison
from transferbench.reporting.deviations import own
from transferbench.reporting.overview import Reported, footnotes, measured, nets_of, scales_of, verdict_of
from transferbench.reporting.tables import percent

HEAD = ("dataset", "nets", "scales", "aggregate", "ours", "paper", "difference")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "·": r"$\cdot$", "<": r"\textless{}",
    ">": r"\textgreater{}",
}  # fmt: skip


def latex_overview(entries: Sequence[Reported]) -> str:
    """Write several results as a table in a paper.

    Parameters
    ----------
    entries : sequence of Reported
        In order.

    Returns
    -------
    str
        A ``tabular`` for the package booktabs, as wide as a column of an article; what was done otherwise stands below
        it under the numbers that the differences carry. A number of something else has its difference in brackets. The
        recipe and the verdict follow every row as a comment.
    """
    numbers = {text: number for number, text in enumerate(footnotes(entries), start=1)}
    lines = [
        r"{\noindent\footnotesize\setlength{\tabcolsep}{3pt}%",
        r"\begin{tabular}{llllrrr@{}l}",
        r"\toprule",
        " & ".join([*HEAD, ""]) + r" \\",
        r"\midrule",
        *(_row(entry, numbers) for entry in entries),
        r"\bottomrule",
        *_below(entries, numbers),
        r"\end{tabular}}",
    ]
    return "\n".join(lines) + "\n"


def latex(text: str) -> str:
    """Escape text for LaTeX.

    Parameters
    ----------
    text : str
        Anything.

    Returns
    -------
    str
        Prints as it stands; ± becomes a formula.
    """
    return "".join(_LATEX.get(character, character) for character in text)


def _row(entry: Reported, numbers: dict[str, int]) -> str:
    result, comparison = entry.result, entry.comparison
    scores = own(result)
    cells = [
        latex(result.dataset),
        latex(nets_of(result)),
        latex(scales_of(result)),
        latex(result.recipe["aggregate"]["kind"]),
        latex(percent(scores.mean, scores.std)) + (" TRIAL" if result.limit is not None else ""),
        latex(percent(comparison.row.value, comparison.row.spread)) if comparison else "",
        *(_difference(comparison, numbers) if comparison else ("", "")),
    ]
    return f"{' & '.join(cells)} \\\\ % {result.recipe_name}: {verdict_of(entry)}"


def _difference(comparison: Comparison, numbers: dict[str, int]) -> tuple[str, str]:
    """Write a difference, and the numbers of what was done otherwise for a column of their own."""
    number = f"${100 * comparison.difference:+.1f}$"  # as a formula: a hyphen is no minus
    marks = ",".join(map(str, sorted(numbers[deviation.text] for deviation in comparison.deviations)))
    raised = f"$^{{{marks}}}$" if marks else ""
    return (f"({number}", f"){raised}") if comparison.verdict == "not comparable" else (number, raised)


def _below(entries: Sequence[Reported], numbers: dict[str, int]) -> list[str]:
    notes = [f"$^{{{number}}}$~{latex(text)}." for text, number in numbers.items()]
    if any(entry.comparison and entry.comparison.verdict == "not comparable" for entry in entries):
        notes.insert(0, "In brackets: not comparable, a number of something else.")
    told = " ".join([latex(measured(entries)), *notes])
    return [rf"\multicolumn{{{len(HEAD) + 1}}}{{p{{\dimexpr\linewidth-2\tabcolsep}}}}{{\raggedright {told}}} \\"]
