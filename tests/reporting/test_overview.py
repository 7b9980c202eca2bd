"""Several results side by side: the same rows in every form."""

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from tests.reporting import gallery
from transferbench.reporting.deviations import Deviation
from transferbench.reporting.latex import latex, latex_overview
from transferbench.reporting.overview import (
    HEAD,
    Reported,
    csv_overview,
    markdown_overview,
    text_overview,
    verdict_of,
)


@pytest.fixture(scope="module")
def entries():
    return [view.entry for view in gallery.views(small=True)]


def test_the_text_has_a_row_each_and_says_what_was_done_otherwise(entries, result):
    lines = text_overview([*entries, Reported("f", result, None)]).splitlines()
    assert lines[0].split() == list(HEAD)
    assert [line.split()[0] for line in lines[2:5]] == ["caltech101_stack", "voc2007_stack", "demo_stack"]
    comparison = entries[0].comparison
    assert f"{100 * comparison.ours:.1f} ± " in lines[2]
    assert "91.8 ± 0.5" in lines[2]
    assert f"{100 * comparison.difference:+.1f}  {comparison.verdict}" in lines[2]
    assert lines[4].endswith("no claim")
    assert "stated tolerance of 1.0 points" in lines[8]


def test_a_deviation_that_several_share_is_told_once(entries):
    changed = [entry.comparison for entry in entries]
    deviation = gallery.compare(
        entries[0].result.model_copy(update={"git_commit": "x-dirty"}), changed[0].row
    ).deviations[0]
    shared = [
        Reported(e.folder, e.result, type(c)(row=c.row, ours=c.ours, deviations=(deviation,)))
        for e, c in zip(entries, changed, strict=True)
    ]
    text = text_overview(shared)
    assert text.count("[1]") == 3
    assert text.count(deviation.text) == 1


def test_csv_is_read_back_with_the_unrounded_numbers(entries):
    rows = list(csv.DictReader(io.StringIO(csv_overview(entries))))
    assert [row["recipe"] for row in rows] == ["caltech101_stack", "voc2007_stack"]
    for row, entry in zip(rows, entries, strict=True):
        assert float(row["ours"]) == pytest.approx(100 * entry.comparison.ours, abs=1e-3)
        assert float(row["difference"]) == pytest.approx(float(row["ours"]) - float(row["paper"]), abs=2e-4)
        assert row["scales"] == "256, 384, 512"
        assert row["verdict"] == entry.comparison.verdict
    assert rows[1]["std"] == ""


def test_csv_has_every_number_under_its_name(entries):
    result, comparison = entries[0].result, entries[0].comparison
    first = result.scores[0].model_copy(update={"mean": 0.9, "std": 0.0125, "interval": (0.875, 0.9375)})
    changed = result.model_copy(update={"scores": (first, *result.scores[1:])})
    told = replace(comparison, ours=0.9, row=replace(comparison.row, value=0.918, spread=0.005, tolerance=0.02))
    (row,) = csv.DictReader(io.StringIO(csv_overview([Reported("f", changed, told)])))
    names = ("ours", "std", "interval_low", "interval_high", "paper", "paper_spread", "difference", "tolerance")
    assert [row[name] for name in names] == ["90", "1.25", "87.5", "93.75", "91.8", "0.5", "-1.8", "2"]


def test_a_trial_is_called_one_in_every_form(entries):
    trial = Reported("f", entries[0].result.model_copy(update={"limit": 5}), None)
    assert text_overview([trial]).splitlines()[2].endswith("trial")
    (row,) = csv.DictReader(io.StringIO(csv_overview([trial])))
    assert row["verdict"] == "trial"
    line = next(line for line in latex_overview([trial]).splitlines() if line.endswith(": trial"))
    assert " TRIAL & " in line
    assert "TRIAL" not in latex_overview([entries[0]])
    assert verdict_of(Reported("f", entries[0].result, None)) == "no claim"


def test_markdown_has_a_cell_for_every_column(entries):
    table = [line for line in markdown_overview(entries).splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert all(line.count("|") == len(HEAD) + 1 for line in table)


def test_latex_escapes_what_it_would_read_as_commands():
    assert latex(r"50% of a_b & {c} \x ~ ^ # $ ±") == (
        r"50\% of a\_b \& \{c\} \textbackslash{}x \textasciitilde{} \textasciicircum{} \# \$ $\pm$"
    )


def test_latex_rows_fit_their_columns(entries, result):
    text = latex_overview([*entries, Reported("f", result, None)])
    columns = len(re.search(r"begin\{tabular\}\{([\w@{}]+)\}\n", text)[1].replace("@{}", ""))
    rows = [line for line in text.splitlines() if " & " in line]
    assert len(rows) == 4
    assert all(line.replace(r"\&", "").count("&") == columns - 1 for line in rows)
    assert rows[1].endswith(f"% caltech101_stack: {entries[0].comparison.verdict}")
    assert rows[3].endswith("% demo_stack: no claim")


def test_latex_numbers_what_was_done_otherwise_and_tells_it_below(entries):
    server = Deviation("test", "another quantity", "trained on train & tested on val")
    other = Deviation("weights", "can move the number", "net D: retrained")
    changed = [
        replace(e, comparison=replace(e.comparison, deviations=(server, other)[n:])) for n, e in enumerate(entries)
    ]
    text = latex_overview(changed)
    first, second = (f"${100 * entry.comparison.difference:+.1f}$" for entry in entries)
    assert f"({first} & )$^{{1,2}}$ \\\\ % caltech101_stack: not comparable" in text
    assert f"{second} & $^{{2}}$ \\\\ % voc2007_stack: outside" in text
    below = text.splitlines()[-2]
    assert r"$^{1}$~trained on train \& tested on val. $^{2}$~net D: retrained." in below
    assert "In brackets: not comparable" in below


def test_latex_compiles_without_a_box_too_wide(tmp_path):
    if not (program := shutil.which("pdflatex")):
        pytest.skip("no pdflatex on the path")
    table = latex_overview([view.entry for view in gallery.views()])
    body = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + table
    (tmp_path / "t.tex").write_text(body + "\\end{document}\n")
    done = subprocess.run(
        [program, "-interaction=nonstopmode", "t.tex"], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout


def test_a_comparison_is_plain_enough_for_json(entries):
    from dataclasses import asdict

    assert json.loads(json.dumps(asdict(entries[0].comparison)))["row"]["made_with"]["nets"] == ["D"]
