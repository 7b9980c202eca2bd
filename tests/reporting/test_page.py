"""The page over many results: its text. What a browser makes of it is in test_page_browser.py."""

import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from markupsafe import escape

from tests.reporting import gallery
from tests.reporting.test_charts import contrast
from transferbench.reporting.charts import COLOURS
from transferbench.reporting.results_page import results_page
from transferbench.reporting.shown import SHADE_PER_CENT
from transferbench.reporting.test_scores import SplitScores
from transferbench.reporting.views import View, examples, thinned
from transferbench.types.labels import ClassLabels, MultiLabels


@pytest.fixture(scope="module")
def views():
    return gallery.views()


@pytest.fixture(scope="module")
def page(views):
    return results_page(views)


class Elements(HTMLParser):
    """Every element with its attributes, and what stands open at each."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.ids = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.elements.append((tag, given))
        if "id" in given:
            self.ids.append(given["id"])

    def of(self, tag):
        return [given for name, given in self.elements if name == tag]


@pytest.fixture(scope="module")
def elements(page):
    return Elements(page)


def test_it_is_one_small_file_that_names_no_other(page, elements):
    assert len(page.encode()) < 3_000_000
    addresses = [g[name] for _, g in elements.elements for name in ("src", "href", "xlink:href", "srcset") if name in g]
    assert {address for address in addresses if not address.startswith(("#", "data:"))} == set()
    assert "url(http" not in page
    assert "@import" not in page
    policy = next(g["content"] for g in elements.of("meta") if g.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_every_result_is_there_with_its_numbers_and_its_verdict(page, views):
    for view in views:
        ours = f"{100 * view.entry.comparison.ours:.1f}"
        row = re.search(rf'<tr role="row" data-result="r\d+">.*?>{view.entry.result.recipe_name}</a>.*?</tr>', page)[0]
        assert ours in row
        assert f"</span> {view.entry.comparison.verdict}</span>" in row
        assert all(f"<li>{escape(d.text)}</li>" in page for d in view.entry.comparison.deviations)


def test_ids_are_unique_and_links_lead_to_them(elements):
    assert len(elements.ids) == len(set(elements.ids))
    targets = {g["href"][1:] for g in elements.of("a") if g["href"].startswith("#")}
    assert targets <= set(elements.ids)


def test_it_is_told_to_readers_who_do_not_see_it(elements):
    assert elements.of("html")[0]["lang"] == "en"
    assert all(g.get("aria-label") for g in elements.of("svg") if g.get("role") == "img")
    assert all(g.get("role") == "img" or g.get("aria-hidden") == "true" for g in elements.of("svg"))
    assert all(g["alt"] for g in elements.of("img"))
    assert all(g.get("scope") for g in elements.of("th"))
    labelled = {g["for"] for g in elements.of("label")}
    assert {g["id"] for g in elements.of("input")} <= labelled
    assert len(elements.of("caption")) == len(elements.of("table"))
    regions = [g for _, g in elements.elements if g.get("role") == "region"]
    assert regions
    assert all(g.get("aria-label") and g.get("tabindex") == "0" for g in regions)


def test_headings_go_down_one_level_at_a_time(elements):
    levels = [int(tag[1]) for tag, _ in elements.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_names_from_data_are_escaped(views):
    view = views[0]
    name = "<script>alert(1)</script>"
    classes = (name, *view.entry.result.classes[1:])
    result = view.entry.result.model_copy(update={"classes": classes, "dataset_title": name, "recipe_name": name})
    entry = type(view.entry)(view.entry.folder, result, view.entry.comparison)
    text = results_page([View(entry)])
    assert name not in text
    assert text.count("<script>") == 1


def mixed(colour, share, background):
    pairs = zip(*([int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (colour, background)), strict=True)
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


@pytest.mark.parametrize("theme", COLOURS)
def test_numbers_in_the_darkest_cell_stay_readable(theme):
    colours = COLOURS[theme]
    assert contrast(colours["ink"], mixed(colours["accent"], SHADE_PER_CENT / 100, colours["page"])) >= 4.5


def test_a_result_without_claim_or_single_images_has_its_page(result):
    entry = gallery.Reported("folder", result, None)
    text = results_page([View(entry)])
    assert "no claim" in text
    assert "Best test images" not in text
    assert "92.7 ± 0.5 %" in text


def test_the_best_and_worst_of_single_labels():
    labels = ClassLabels(classes=("a", "b", "c"), by_id={"i": 0, "j": 1, "k": 2})
    values = np.array([[3.0, 1.0, 0.0], [2.5, 2.0, 0.0], [0.0, 0.0, 1.0]])
    best, worst = examples(SplitScores.of(0, "1", ("i", "j", "k"), labels, values), labels.classes)
    assert [(e.image_id, e.told) for e in best] == [("i", "a"), ("k", "c")]
    assert [(e.image_id, e.told) for e in worst] == [("j", "b, taken for a")]


def test_the_best_and_worst_of_several_labels():
    labels = MultiLabels(classes=("a", "b"), by_id={"i": (1, -1), "j": (-1, 1), "k": (0, -1)})
    values = np.array([[2.0, 0.5], [1.5, -3.0], [9.0, -1.0]])
    best, worst = examples(SplitScores.of(0, "1", ("i", "j", "k"), labels, values), labels.classes)
    # Image k is difficult for class a, so its score of 9 counts nowhere.
    assert [(e.image_id, e.told) for e in best] == [("i", "a, score +2.00")]
    assert [(e.image_id, e.told) for e in worst] == [("j", "b missed, score -3.00")]


def test_a_curve_keeps_its_corners():
    recall, precision = np.array([0.2, 0.4, 0.6, 0.8, 1.0]), np.array([1.0, 1.0, 0.75, 0.75, 0.5])
    assert thinned(recall, precision) == ((0.4, 1.0), (0.8, 0.75), (1.0, 0.5))
    many = np.linspace(0.001, 1, 1000)
    kept = thinned(many, 1 - many / 2)
    assert len(kept) == 60
    assert kept[-1] == (1.0, 0.5)
