from html.parser import HTMLParser

import pytest

from transferbench.reporting.compare import Comparison
from transferbench.reporting.report import markdown_report, text_report, write_report
from transferbench.reporting.tables import markdown_table, percent, text_table
from transferbench.types import PublishedRow

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


class Page(HTMLParser):
    """Collects what a browser would fetch, and the text it would show."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.shown, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [
            value
            for name, value in attrs
            if name in {"src", "href", "xlink:href"} and not value.startswith(("#", "data:"))
        ]

    def handle_data(self, data):
        self.shown.append(data)


def test_the_page_is_one_file_with_two_pictures_and_no_foreign_code(tmp_path, result, comparison):
    markdown, page = write_report(tmp_path, result, comparison)
    found = Page(page.read_text())
    assert found.fetched == []
    assert "url(http" not in page.read_text()
    assert found.tags.count("svg") == 2
    assert "script" not in found.tags
    shown = " ".join(found.shown)
    assert "<script>alert(1)</script>" in shown
    assert "92.7 ± 0.5 %" in shown
    assert markdown.read_text() == markdown_report(result, comparison)


def test_the_same_result_gives_the_same_page(tmp_path, result, comparison):
    first = write_report(tmp_path / "a", result, comparison)[1].read_bytes()
    assert write_report(tmp_path / "b", result, comparison)[1].read_bytes() == first


def test_text_tables_align():
    assert text_table(("a", "bb"), [["x", "1"], ["yyy", "22"]], right=["bb"]) == "a    bb\n───  ──\nx     1\nyyy  22"


def test_markdown_tables_escape_bars():
    assert markdown_table(("a", "b"), [["x|y", "1"]], right=["b"]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"


def test_per_cent():
    assert percent(0.9271, 0.0049) == "92.7 ± 0.5"
    assert percent(0.9271) == "92.7"
