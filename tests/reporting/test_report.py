import pytest

from transferbench.reporting.compare import Comparison, compare
from transferbench.reporting.deviations import Deviation
from transferbench.reporting.report import markdown_report, per_class_text, text_report
from transferbench.reporting.tables import fitted, markdown_table, percent, text_table
from transferbench.types.scores import PublishedRow

ROW = PublishedRow(
    key="demo/D", metric="mean class recall", value=0.918, spread=0.01, source="Table 11, Net-D", tolerance=0.01
)


@pytest.fixture
def comparison(result):
    return Comparison(row=ROW, ours=result.scores[0].mean)


def test_the_text_says_what_was_measured_and_beside_what(result, comparison):
    text = text_report(result, comparison)
    assert (
        text.splitlines()[0]
        == "demo_stack: mean class recall in per cent on demo, 2 splits of 10 training and 7 test images"
    )
    cells = text.splitlines()[4].split("  ")
    assert [cell.strip() for cell in cells if cell.strip()] == [
        "pretrained, net D",
        "4096",
        "92.7 ± 0.5",
        "1, 0.1",
        "91.8 ± 1.0",
        "+0.9",
    ]
    assert "Reference: Table 11, Net-D. Ours is within the stated tolerance of 1.0 points." in text
    assert "pretrained, net D: the best C is at the edge of the grid (C=0.1 in split 2 of 2)" in text
    assert "n - 1 in the denominator" in text


def test_a_floor_stands_beside_no_published_number(result, comparison):
    line = text_report(result, comparison).splitlines()[5]
    assert [cell.strip() for cell in line.split("  ") if cell.strip()] == ["raw pixels", "192", "50.0", "1"]


def test_classes_and_other_metrics_are_means_over_the_splits(result):
    told = (((0.9, 0.5), 0.9), ((0.8, 0.1), 0.6))
    splits = tuple(
        split.model_copy(update={"per_class": per_class, "others": (("area", other),)})
        for split, (per_class, other) in zip(result.scores[0].splits, told, strict=True)
    )
    ours = result.scores[0].model_copy(update={"splits": splits})
    changed = result.model_copy(update={"scores": (ours,)})
    assert [line.split()[-1] for line in per_class_text(changed).splitlines()[4:]] == ["85.0", "30.0"]
    assert "pretrained, net D: area 75.0." in text_report(changed, None)


def test_a_low_shot_curve_tells_its_sizes_and_claims_with_the_largest(result, comparison):
    whole, floor = result.scores
    fewer = tuple(
        split.model_copy(update={"n_fit": 2, "n_validation": 0, "sha256": "d" * 64}) for split in whole.splits
    )
    few = {"title": "pretrained, net D, 1 per class", "mean": 0.4, "splits": fewer, "train_per_class": 1}
    full = {"title": "pretrained, net D, 5 per class", "train_per_class": 5}
    curve = (
        whole.model_copy(update=few),
        whole.model_copy(update=full),
        floor.model_copy(update={"train_per_class": 5}),
    )
    told = result.model_copy(update={"scores": curve})
    lines = text_report(told, comparison).splitlines()
    assert lines[0].endswith("2 splits of 2 to 10 training and 7 test images")
    claiming = [line for line in lines if "91.8 ± 1.0" in line]
    assert len(claiming) == 1
    assert claiming[0].startswith("pretrained, net D, 5 per class")
    text = markdown_report(told, comparison)
    assert "| class | pretrained, net D, 1 per class | pretrained, net D, 5 per class | raw pixels |" in text
    assert f"| splits 1 of 2, 1 per class | sha256 {'d' * 64} |" in text
    assert f"| splits 1 of 2, 5 per class | sha256 {'c' * 64} |" in text


def test_a_failed_reproduction_is_said(result):
    text = text_report(result, Comparison(row=ROW, ours=0.9))
    assert "-1.8" in text
    assert "NOT within" in text


def test_without_a_claim_there_is_no_reference(result):
    assert "Reference" not in text_report(result, None)


def test_markdown_escapes_and_holds_provenance(result, comparison):
    text = markdown_report(result, comparison)
    assert "| pretrained, net D | 4096 | 92.7 ± 0.5 |" in text
    assert "| evaluate demo_stack | 1.2 | no |" in text
    assert "sha256 " + "w" * 64 in text


def test_what_was_done_otherwise_is_listed(result):
    deviation = Deviation("scales", "can move the number", "scales 256 px; the published ones are 256, 384")
    comparison = Comparison(row=ROW, ours=0.927, deviations=(deviation,))
    text = text_report(result, comparison)
    assert text.endswith("Done otherwise than for the reference:\n- scales 256 px; the published ones are 256, 384")
    assert "- scales 256 px; the published ones" in markdown_report(result, comparison)
    assert "Done otherwise" not in text_report(result, None)


def test_a_number_of_something_else_is_never_called_within(result):
    other = Comparison(row=ROW, ours=0.918, deviations=(Deviation("trial", "another quantity", "a trial"),))
    assert "Ours is NOT comparable: it is a number of something else." in text_report(result, other)


def test_an_edge_of_C_is_told_once(result):
    text = text_report(result, compare(result, ROW))
    assert text.count("the best C is at the edge of the grid (C=0.1 in split 2 of 2)") == 1


def test_classes_are_listed_from_best_to_worst(result):
    splits = (result.scores[0].splits[0].model_copy(update={"per_class": (0.25, 0.75)}),)
    scores = (result.scores[0].model_copy(update={"splits": splits}), result.scores[1])
    lines = per_class_text(result.model_copy(update={"scores": scores})).splitlines()
    assert lines[0] == "demo_stack: recall per class, in per cent, mean over the splits"
    assert lines[2].split("  ")[0] == "class"
    assert [line.split()[-2:] for line in lines[4:]] == [["75.0", "50.0"], ["25.0", "50.0"]]


def test_text_tables_align():
    assert text_table(("a", "bb"), [["x", "1"], ["yyy", "22"]], right=["bb"]) == "a    bb\n───  ──\nx     1\nyyy  22"


def test_markdown_tables_escape_bars():
    assert markdown_table(("a", "b"), [["x|y", "1"]], right=["b"]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"


def test_per_cent():
    assert percent(0.9271, 0.0049) == "92.7 ± 0.5"
    assert percent(0.9271) == "92.7"
    assert percent(0.92751, 0.00451) == "92.8 ± 0.5"  # rounded, not cut


WIDE = text_table(("name", "n", "what"), [["first", "1", "some words that go on"], ["second", "22", ""]], right=["n"])


def test_what_fits_a_terminal_stays_as_it_is():
    text = f"A line.\n\n{WIDE}\n\n- a remark"
    assert fitted(text, 80) == text


def test_on_a_narrow_terminal_words_wrap_and_commands_do_not():
    assert fitted("- one two three\n\n[12] four five six", 10) == "- one two\n  three\n\n[12] four\n     five\n     six"
    assert fitted("  tb extract --dataset digits", 10) == "  tb extract --dataset digits"


def test_on_a_narrow_terminal_the_last_column_of_a_table_wraps():
    words = "a rather long sentence about a recipe"
    lines = fitted(text_table(("recipe", "what"), [["stack", words], ["max", "short"]]), 32).splitlines()
    assert lines[0].split() == ["recipe", "what"]
    assert lines[2:] == ["stack   a rather long sentence", "        about a recipe", "max     short"]


def test_values_beside_their_names_wrap_and_addresses_stay_whole():
    address = "https://host.example/a/file.tar"
    table = text_table(
        ("voc", ""), [["what", "images and labels of a part"], ["from", f"here: {address}"], ["", address]]
    )
    assert fitted(table, 32).splitlines() == [
        "voc",
        "────  ──────────────────────────",
        "what  images and labels of a",
        "      part",
        "from  here:",
        f"      {address}",
        f"      {address}",
    ]


def test_a_long_value_of_a_row_wraps_below_it():
    table = text_table(("verdict", "folder", ""), [["ok", "split 1 of 3: 80 to fit", "and more"], ["", "b", "c"]])
    assert fitted(table, 20).splitlines() == [
        "ok",
        "  folder: split 1 of",
        "    3: 80 to fit",
        "  and more",
        "  folder: b  c",
    ]


def test_a_table_with_many_columns_becomes_a_few_lines_for_every_row():
    table = text_table(
        ("recipe", "ours", "folder"), [["stack", "98.6 ± 0.1", "/a/path/to/it"], ["max", "", "/b"]], right=["ours"]
    )
    assert fitted(f"{table}\n\nThe end.", 24).splitlines() == [
        "stack",
        "  ours: 98.6 ± 0.1",
        "  folder: /a/path/to/it",
        "max",
        "  folder: /b",
        "",
        "The end.",
    ]
