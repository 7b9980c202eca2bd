"""The page over many results in a browser: by eye, by keyboard, by screen reader, on a phone and on paper."""

import collections
import itertools

import pytest

from tests.reporting import gallery
from tests.reporting.browser import Browser, executable
from tests.reporting.test_charts import contrast
from transferbench.reporting.results_page import results_page
from transferbench.reporting.run_page import RunStory, run_page

pytestmark = pytest.mark.skipif(
    executable() is None,
    reason="no browser: install Chromium (apt-get install chromium) or name one with TB_BROWSER",
)

UNFOLD = 'for (const each of document.querySelectorAll("details")) each.open = true;'
SCHEMES = ("light", "dark")
EPOCHS = {
    "epoch": [1, 2, 3],
    "loss": [2.0, 1.0, 0.5],
    "accuracy": [0.5, 0.8, 0.9],
    "learning_rate": [0.005, 0.0005, 0.00005],
}


@pytest.fixture(scope="module")
def views():
    return gallery.views()


@pytest.fixture(scope="module")
def files(tmp_path_factory, views):
    """The pages that there are, by name: all results, one of each kind of labels, and a run."""
    folder = tmp_path_factory.mktemp("pages")
    small = gallery.views(small=True)
    swept = [
        gallery.swept(view, f"~layer=fc6~aggregate=average~scales={n}56+{n}84+512") for n, view in enumerate(views[:4])
    ]
    run = RunStory(name="run", state="finished", facts=[("epochs", "3")], steps={}, epochs=EPOCHS, recipe={"seed": 0})
    texts = {
        "all": results_page(views),
        "matrix": results_page(views[:1]),
        "small": results_page(small[:1]),
        "curves": results_page([views[8]]),
        "swept": results_page(swept),
        "run": run_page(run),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.fixture(scope="module")
def chromium():
    with Browser() as browser:
        yield browser


@pytest.fixture
def opened(chromium, files):
    """Open a page by its name; it is closed after the test, and must not have complained."""
    pages = []

    def open_page(name="all", **window):
        pages.append(chromium.open(files[name], **window))
        return pages[-1]

    yield open_page
    complaints = [complaint for page in pages for complaint in page.logged()]
    for page in pages:
        page.close()
    assert complaints == []


SORT_AND_FILTER = """
const rows = () => [...document.querySelectorAll("#all tbody tr")];
const column = (n) => rows().map((row) => row.cells[n].textContent);
const press = (n) => document.querySelectorAll("#all thead th")[n].querySelector("button").click();
const input = document.getElementById("filter");
const type = (text) => { input.value = text; input.dispatchEvent(new Event("input")); };
const found = {};
press(4); found.descending = column(4); found.sorted = document.querySelectorAll("#all th")[4].ariaSort;
press(4); found.ascending = column(4);
press(0); found.names = rows().map((row) => row.querySelector("a").textContent);
type("voc2012 outside");
found.filtered = rows().filter((row) => row.offsetParent).map((row) => row.querySelector("a").textContent);
found.results = [...document.querySelectorAll("details.result")].filter((each) => each.offsetParent).length;
found.sections = [...document.querySelectorAll("section.dataset")].filter((each) => each.offsetParent).length;
found.count = document.querySelector(".tools output").textContent;
type("");
found.all = rows().filter((row) => row.offsetParent).length;
const classes = document.getElementById("f1");
classes.value = "category 007"; classes.dispatchEvent(new Event("input"));
found.classes = [...document.querySelectorAll("#c1 tbody tr")].filter((r) => !r.hidden).map((r) => r.cells[0].textContent);
found.fetched = performance.getEntriesByType("resource").map((e) => e.name).filter((name) => !name.startsWith("data:"));
return found;
"""


OVERLAPS = """
const found = [];
for (const charts of document.querySelectorAll(".charts")) {
  const places = [...charts.children].map((each) => each.getBoundingClientRect());
  for (const [n, a] of places.entries()) for (const b of places.slice(n + 1))
    if (a.right > b.left + 1 && b.right > a.left + 1 && a.bottom > b.top + 1 && b.bottom > a.top + 1) found.push(charts.outerHTML.slice(0, 200));
}
return [found, document.documentElement.scrollWidth - document.documentElement.clientWidth];
"""


@pytest.mark.parametrize("width", [1280, 1000, 360])
def test_long_names_of_a_sweep_lie_over_nothing(opened, width):
    page = opened("swept", width=width)
    names = page.ask('return [...document.querySelectorAll("#all tbody a")].map((each) => each.textContent);')
    assert len(names) == 4
    assert names[0] == "caltech101_stack~layer=fc6~aggregate=average~scales=056+084+512"
    assert page.ask(OVERLAPS) == [[], 0]


def test_it_sorts_and_filters_and_fetches_nothing(opened, views):
    found = opened().ask(SORT_AND_FILTER)
    ours = sorted((view.entry.comparison.ours for view in views), reverse=True)
    shown = [float(text.split()[0]) for text in found["descending"]]
    assert shown == [float(f"{100 * value:.1f}") for value in ours]
    assert found["sorted"] == "descending"
    assert [float(text.split()[0]) for text in found["ascending"]] == shown[::-1]
    assert found["names"] == sorted(found["names"])
    outside = {
        v.entry.result.recipe_name
        for v in views
        if "voc2012" in v.entry.result.recipe_name and v.entry.comparison.verdict == "outside"
    }
    assert set(found["filtered"]) == outside
    assert found["results"] == len(outside)
    assert found["sections"] == 1
    assert found["count"] == f"{len(outside)} of 20"
    assert found["all"] == 20
    assert found["classes"] == ["category 007"]
    assert found["fetched"] == []


def test_a_filter_of_classes_hides_no_section(opened):
    page = opened("matrix")
    assert page.ask('return document.querySelector("section.dataset").hidden') is False
    assert page.ask('return document.querySelector(".tools").hidden') is False


TOO_WIDE = """
return [document.documentElement.scrollWidth - document.documentElement.clientWidth,
  [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1
    && !e.closest(".scroll, pre, .skip, svg")).map((e) => e.tagName + "." + e.className).slice(0, 5)];
"""


@pytest.mark.parametrize("width", [1400, 1100, 768, 360])
def test_nothing_is_wider_than_the_window(opened, files, width):
    for name in files:
        page = opened(name, width=width)
        assert page.ask(TOO_WIDE) == [0, []], name
        assert page.ask(UNFOLD + TOO_WIDE) == [0, []], name


CHARTS = """
const clashes = [];
const charts = [...document.querySelectorAll("svg.plot")];
for (const chart of charts) {
  const texts = [...chart.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
  texts.forEach(([one, a], i) => texts.slice(i + 1).forEach(([other, b]) => {
    if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) clashes.push([one, other]);
  }));
  for (const [text, place] of texts) if (place.left < 0 || place.right > innerWidth) clashes.push([text, "the edge"]);
}
const heights = charts.flatMap((chart) => [...chart.querySelectorAll("text:not([transform])")].map((text) => text.getBoundingClientRect().height));
return [charts.length, clashes, Math.min(...heights)];
"""


@pytest.mark.parametrize("width", [1200, 360])
def test_no_text_in_a_chart_lies_on_another(opened, width):
    for name, least in {"all": 20, "run": 3}.items():
        count, clashes, height = opened(name, width=width).ask(UNFOLD + CHARTS)
        assert count >= least
        assert clashes == []
        assert height > 12  # of a line: glyphs of ten pixels or more


FOCUS = """
const e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
return { what: e.tagName + (e.id && "#" + e.id) + " " + e.textContent.trim().slice(0, 30), number: [...document.querySelectorAll("*")].indexOf(e),
  outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth };
"""
FOCUSABLE = """
const every = [...document.querySelectorAll("*")];
return every.filter((e) => e.matches("a[href], button, input, summary, [tabindex='0']") && e.checkVisibility()).map((e) => every.indexOf(e));
"""


def walk(page, *, shift=False):
    """Press Tab until the focus leaves the page; return every place it stood on."""
    stood = []
    while len(stood) < 400:
        page.press("Tab", shift=shift)
        place = page.ask(FOCUS)
        if place["what"].startswith(("BODY", "HTML")) or place["number"] in {each["number"] for each in stood}:
            return stood
        stood.append(place)
    return stood


@pytest.mark.parametrize("name", ["all", "curves", "matrix", "run"])
def test_the_keyboard_reaches_every_control_in_order(opened, name):
    page = opened(name)
    if name != "all":
        page.ask(UNFOLD)
    stood = walk(page)
    assert [place["number"] for place in stood] == page.ask(FOCUSABLE)
    assert [place["what"] for place in stood if not (place["outlined"] and place["inside"])] == []


def test_the_keyboard_alone_skips_sorts_filters_and_unfolds(opened):
    page = opened()
    page.press("Tab")
    assert page.ask("return document.activeElement.textContent") == "Skip to the results"
    page.press("Enter")
    page.press("Tab")
    assert page.ask("return document.activeElement.id") == "filter"
    page.type("caltech101")
    assert page.ask('return document.querySelector("output").textContent') == "4 of 20"
    page.press("Tab")
    page.press("Enter")
    assert page.ask('return document.querySelector("#all th").ariaSort') == "ascending"
    page.press(" ")
    assert page.ask('return document.querySelector("#all th").ariaSort') == "descending"
    assert page.ask('return document.querySelectorAll("#all [aria-sort]").length') == 1
    for _ in range(8):
        page.press("Tab")
    name = page.ask("return document.activeElement.textContent")
    page.press("Enter")  # a link to a folded result
    page.ask("await new Promise((done) => setTimeout(done, 100))")
    assert page.ask(
        'return [document.activeElement.tagName, document.activeElement.querySelector(".name").textContent]'
    ) == ["SUMMARY", name]
    assert page.ask("return document.activeElement.parentElement.open") is True
    page.press(" ")
    assert page.ask("return document.activeElement.parentElement.open") is False


def value(node, key):
    return node.get(key, {}).get("value", "")


def properties(node):
    return {each["name"]: each["value"].get("value") for each in node.get("properties", ())}


NAMED = {
    "link",
    "button",
    "searchbox",
    "textbox",
    "DisclosureTriangle",
    "image",
    "table",
    "region",
    "navigation",
    "heading",
}


@pytest.mark.parametrize("name", ["all", "curves", "small", "run"])
def test_a_screen_reader_is_told_the_name_of_everything(opened, name):
    page = opened(name)
    page.ask(UNFOLD)
    tree = page.spoken()
    roles = collections.Counter(value(node, "role") for node in tree)
    assert [properties(node) for node in tree if value(node, "role") in NAMED and not value(node, "name").strip()] == []
    controls = [node for node in tree if properties(node).get("focusable") and value(node, "role") != "RootWebArea"]
    assert [
        node["role"] for node in controls if not value(node, "name").strip() and value(node, "role") != "main"
    ] == []
    assert roles["main"] == 1
    assert roles["image"] >= 1
    levels = [properties(node)["level"] for node in tree if value(node, "role") == "heading"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    if name == "all":
        assert (roles["banner"], roles["navigation"]) == (1, 1)


def test_a_screen_reader_hears_how_a_table_is_sorted(opened):
    page = opened()
    page.ask('document.querySelectorAll("#all thead button")[4].click()')
    heads = {value(n, "name"): n for n in page.spoken() if value(n, "role") == "columnheader"}
    assert "Ours" in heads
    assert page.ask('return document.querySelectorAll("#all th")[4].getAttribute("aria-sort")') == "descending"
    assert page.ask('return [...document.querySelectorAll("#all thead button")].map((b) => b.textContent.trim())') == [
        "Recipe", "Dataset", "Nets", "Features", "Ours", "Paper", "Difference", "Verdict",
    ]  # fmt: skip


TEXTS = """
const parse = (text) => {
  const numbers = text.match(/-?[\\d.]+(e-?\\d+)?/g).map(Number);
  const scale = text.startsWith("color(") ? 255 : 1;
  return [...numbers.slice(0, 3).map((n) => n * scale), numbers[3] ?? 1];
};
const over = (top, below) => [0, 1, 2].map((k) => top[k] * top[3] + below[k] * (1 - top[3])).concat(1);
const background = (e) => {
  const layers = [];
  for (; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
};
const found = {};
const note = (e, colour) => {
  let alpha = 1;
  for (let each = e; each; each = each.parentElement) alpha *= Number(getComputedStyle(each).opacity);
  const below = background(e), top = parse(colour);
  found[[over([...top.slice(0, 3), top[3] * alpha], below).slice(0, 3).map(Math.round), below.slice(0, 3).map(Math.round)].join("/")] = e.outerHTML.slice(0, 90);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest("script, style, title")) continue;
  const style = getComputedStyle(e);
  note(e, e instanceof SVGElement ? style.fill : style.color);
}
for (const e of document.querySelectorAll("input")) note(e, getComputedStyle(e, "::placeholder").color);
for (const e of document.querySelectorAll("th button")) note(e, getComputedStyle(e, "::after").color);
return found;
"""


def _hex(numbers):
    return "#" + "".join(f"{int(number):02x}" for number in numbers.split(","))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_text_stands_out_from_what_is_behind_it(opened, files, scheme):
    for name in files:
        page = opened(name, scheme=scheme)
        found = page.ask(UNFOLD + TEXTS)
        assert len(found) >= 2
        ratios = {pair: contrast(*map(_hex, pair.split("/"))) for pair in found}
        assert {found[pair]: round(ratio, 2) for pair, ratio in ratios.items() if ratio < 4.5} == {}, name


def test_paper_is_white_and_holds_what_was_folded_away_by_height(opened):
    page = opened("matrix", scheme="dark")
    dark = page.ask("return getComputedStyle(document.body).backgroundColor")
    page.show(scheme="dark", media="print")
    assert dark != "rgb(255, 255, 255)"
    assert page.ask("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert (
        page.ask('return [...document.querySelectorAll(".tall")].every((e) => e.scrollHeight <= e.clientHeight + 1)')
        is True
    )
    assert (
        page.ask(
            'return [...document.querySelectorAll(".tools, nav, .skip")].filter((e) => e.checkVisibility()).length'
        )
        == 0
    )


def test_without_scripts_it_can_be_read(opened, files):
    page = opened("run")
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.go(files["all"])
    visible = "[...document.querySelectorAll(selector)].filter((e) => e.checkVisibility()).length"
    assert page.ask(f'const selector = "#all tbody tr"; return {visible}') == 20
    assert page.ask(f'const selector = ".tools, th button"; return {visible}') == 0


def test_it_opens_quickly(opened, files, record_property, capsys):
    milliseconds = opened().ask('return performance.getEntriesByType("navigation")[0].loadEventEnd')
    record_property("milliseconds_to_load", milliseconds)
    size = files["all"].stat().st_size
    assert size < 3_000_000
    with capsys.disabled():
        print(f"\n{size / 1e6:.2f} MB, loaded after {milliseconds:.0f} ms")
