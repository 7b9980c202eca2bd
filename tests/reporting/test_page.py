"""The page over many results: its text without a browser, and its behaviour in one."""

import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from markupsafe import escape

from tests.reporting import browser, gallery
from tests.reporting.test_charts import contrast
from transferbench.reporting.charts import COLOURS
from transferbench.reporting.results_page import SHADE_PER_CENT, results_page
from transferbench.reporting.test_scores import SplitScores
from transferbench.reporting.views import View, examples, thinned
from transferbench.types.labels import ClassLabels, MultiLabels

BROWSER = pytest.mark.skipif(
    browser.executable() is None,
    reason="no browser: install Chromium (apt-get install chromium) or name one with TB_BROWSER",
)


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


SCRIPT = """
const rows = () => [...document.querySelectorAll("#all tbody tr")];
const column = (n) => rows().map((row) => row.cells[n].textContent);
const press = (n) => document.querySelectorAll("#all thead th")[n].querySelector("button").click();
const wait = (ms) => new Promise((done) => window.setTimeout(done, ms));
const overflow = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
const found = { width: window.innerWidth, folded: overflow() };
press(4); found.descending = column(4); found.sorted = document.querySelectorAll("#all th")[4].ariaSort;
press(4); found.ascending = column(4);
press(0); found.names = column(0);
const input = document.getElementById("filter");
input.value = "voc2012 outside"; input.dispatchEvent(new window.Event("input"));
found.filtered = rows().filter((row) => row.offsetParent !== null).map((row) => row.cells[0].textContent);
found.results = [...document.querySelectorAll("details.result")].filter((each) => each.offsetParent !== null).length;
found.count = document.querySelector(".tools output").textContent;
input.value = ""; input.dispatchEvent(new window.Event("input"));
found.all = rows().filter((row) => row.offsetParent !== null).length;
window.location.hash = "#r3"; await wait(300);
found.opened = document.getElementById("r3").open;
for (const each of document.querySelectorAll("details")) each.open = true;
found.unfolded = overflow();
found.wide = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1
  && !e.closest(".scroll, pre, .skip, svg")).map((e) => e.tagName + "." + e.className).slice(0, 5);
const classes = document.getElementById("f1");
classes.value = "category 007"; classes.dispatchEvent(new window.Event("input"));
found.classes = [...document.querySelectorAll("#c1 tbody tr")].filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
found.fetched = window.performance.getEntriesByType("resource").map((e) => e.name).filter((name) => !name.startsWith("data:"));
return found;
"""


@BROWSER
def test_in_a_browser_it_sorts_filters_fits_a_phone_and_fetches_nothing(tmp_path, page, views):
    (desktop, phone), console = browser.ask(tmp_path, page, SCRIPT, (1200, 360))
    assert console == []
    assert "problem" not in desktop, desktop
    assert "problem" not in phone, phone
    assert (desktop["width"], phone["width"]) == (1200, 360)
    ours = sorted((view.entry.comparison.ours for view in views), reverse=True)
    shown = [float(text.split()[0]) for text in desktop["descending"]]
    assert shown == [float(f"{100 * value:.1f}") for value in ours]
    assert desktop["sorted"] == "descending"
    assert [float(text.split()[0]) for text in desktop["ascending"]] == shown[::-1]
    assert desktop["names"] == sorted(desktop["names"])
    outside = {
        v.entry.result.recipe_name
        for v in views
        if "voc2012" in v.entry.result.recipe_name and v.entry.comparison.verdict == "outside"
    }
    assert set(desktop["filtered"]) == outside
    assert desktop["results"] == len(outside)
    assert desktop["count"] == f"{len(outside)} of 20"
    assert desktop["all"] == 20
    assert desktop["opened"] is True
    assert desktop["classes"] == ["category 007"]
    for window in (desktop, phone):
        assert window["wide"] == []
        assert (window["folded"], window["unfolded"]) == (0, 0)
        assert window["fetched"] == []


@BROWSER
def test_it_opens_quickly(tmp_path, page, record_property, capsys):
    timing = "<script>addEventListener('load',()=>{document.title='loaded '+Math.round(performance.now())})</script>"
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", timing + "</body>"))
    document, console = browser.opened(path)
    assert console == []
    milliseconds = int(re.search(r"<title>loaded (\d+)</title>", document)[1])
    record_property("milliseconds_to_load", milliseconds)
    with capsys.disabled():
        print(f"\n{len(page) / 1e6:.2f} MB, loaded after {milliseconds} ms")


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
