"""`tb report` over stored results, in every form."""

import csv
import io

import pytest

from tests.reporting import gallery
from transferbench.reporting.result import save_result

CLAIMS = {"caltech101": "caltech101/vgg-d", "voc2007": "voc2007/vgg-d"}


@pytest.fixture
def stored(tb):
    """Two results, of which the page shows curves and examples; the images are not at hand."""
    for view, scores in zip(gallery.views(small=True), gallery.small_scores(), strict=True):
        result = view.entry.result
        claimed = {**result.recipe, "claims": CLAIMS[result.dataset]}
        save_result(tb.home / "results", result.model_copy(update={"recipe": claimed}), scores)
    return tb


def test_without_a_name_the_newest_result_of_every_recipe_stands_beside_the_paper(stored):
    done = stored("report")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split()[:2] == ["recipe", "dataset"]
    assert [line.split()[0] for line in lines[2:4]] == ["caltech101_stack", "voc2007_stack"]
    assert "91.8 ± 1.0" in lines[2]
    assert "89.3" in lines[3]
    assert "not comparable" in lines[3]
    assert "the metric is mean average precision (area); the published one is the 11-point one" in done.out
    page = stored.home / "results" / "report.html"
    assert f"page: {page}" in done.err
    assert "Precision over recall" in page.read_text()
    assert "no pictures of caltech101" in done.err
    assert 'class="examples"' in page.read_text()


def test_results_that_lie_where_nothing_can_be_written_are_told_all_the_same(stored, tmp_path):
    told, page = stored("report", "--no-images"), stored.home / "results" / "report.html"
    html = page.read_text()
    page.unlink()
    page.mkdir()  # nobody can write a file of this name, root included
    done = stored("report", "--no-images")
    assert (done.code, done.out) == (0, told.out)
    assert "note: no page is written beside the results: cannot write" in done.err
    assert "page:" not in done.err
    assert stored("report", "--no-images", "--format", "html").out.strip() == html.strip()
    (tmp_path / "file").touch()
    assert (
        stored("report", "--no-images", "--output", tmp_path / "file" / "table.txt").code == 1
    )  # what was asked for by its name is an error


def test_a_later_trial_does_not_take_the_place_of_a_whole_result(stored):
    whole = stored("report", "--no-images").out
    result = gallery.views(small=True)[0].entry.result
    save_result(stored.home / "results", result.model_copy(update={"limit": 5, "created": "2027-01-01T00:00:00+00:00"}))
    assert stored("report", "--no-images").out == whole
    assert "TRIAL" not in stored("results", "show", "caltech101_stack").out


def test_no_images_are_looked_for_when_none_are_wanted(stored):
    assert "no pictures" not in stored("report", "--no-images").err


def test_one_result_is_an_object_and_several_are_a_list(stored):
    one = stored("report", "voc2007_stack", "--json").json()
    assert one["comparison"]["verdict"] == "not comparable"
    several = stored("report", "voc2007_stack", "caltech101_stack", "--format", "json").json()
    assert [each["recipe_name"] for each in several] == ["voc2007_stack", "caltech101_stack"]
    assert "scales" in {d["rule"] for each in several for d in each["comparison"]["deviations"]}


def test_tables_for_other_programs(stored, tmp_path):
    rows = list(csv.DictReader(io.StringIO(stored("report", "--format", "csv", "--no-images").out)))
    assert [row["row"] for row in rows] == ["caltech101/vgg-d", "voc2007/vgg-d"]
    assert stored("report", "--format", "latex", "--no-images").out.count(r"\begin{tabular}") == 1
    assert stored("report", "--format", "markdown", "--no-images").out.startswith("| recipe | dataset |")
    told = stored("report", "--format", "html", "--no-images", "--output", tmp_path / "all.html")
    assert told.out == ""
    assert (tmp_path / "all.html").read_text() == (stored.home / "results" / "report.html").read_text()


def test_classes_are_listed_on_request(stored):
    out = stored("report", "caltech101_stack", "--per-class", "--no-images").out
    assert "recall per class, in per cent, mean over the splits" in out
    assert {"cat", "dog", "emu"} <= {line.split()[0] for line in out.splitlines() if line}
    assert "per class" not in stored("report", "caltech101_stack", "--no-images").out


def test_damaged_scores_of_images_are_said_and_the_rest_is_shown(stored):
    path = next((stored.home / "results" / "voc2007_stack").glob("*/test-scores.npz"))
    path.write_bytes(path.read_bytes()[:-1])
    done = stored("report", "voc2007_stack")
    assert done.code == 0
    assert "note: no single images of voc2007_stack" in done.err
