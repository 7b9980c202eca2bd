"""Line charts: read back from the SVG, so that a point is where its value says."""

import re
from xml.etree import ElementTree as ET

import pytest

from transferbench.reporting.charts import COLOURS, HEIGHT, WIDTH, Axis, Series, line_chart

X, Y = Axis("images per class", log=True, ticks=(1, 2, 4, 8)), Axis("recall, %")
CURVES = [Series("net D", [(1, 40.0), (2, 50.0), (8, 70.0)]), Series("D & <E>", [(1, 45.0), (2, 52.0), (8, 75.0)])]


def drawn(chart):
    """The figure as a tree: charts are well-formed, names are escaped."""
    return ET.fromstring(str(chart))


def places(tree, number=0):
    path = tree.findall(f".//g[@class='k{number}']/path[@class='curve']")[0].get("d")
    return [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]


def ticks(tree, anchor):
    texts = [t for t in tree.iter("text") if t.get("text-anchor") == anchor and t.get("transform") is None]
    return {t.text: t for t in texts}


def test_a_point_stands_on_the_ticks_of_its_values():
    tree = drawn(line_chart(CURVES, title="low shot", x=X, y=Y))
    across, up = ticks(tree, "middle"), ticks(tree, "end")
    first, second, last = places(tree)
    assert first[0] == float(across["1"].get("x"))
    assert last[0] == float(across["8"].get("x"))
    assert first[1] + 4 == float(up["40"].get("y"))
    assert last[1] + 4 == float(up["70"].get("y"))
    # On a logarithmic axis a doubling is a third of an eightfold.
    assert second[0] - first[0] == pytest.approx((last[0] - first[0]) / 3, abs=0.11)
    assert all(0 < px < WIDTH and 0 < py < HEIGHT for px, py in places(tree) + places(tree, 1))


def test_a_higher_value_is_higher_up():
    one, other = (places(drawn(line_chart(CURVES, title="t", x=X, y=Y)), n) for n in (0, 1))
    assert all(upper[1] < lower[1] for lower, upper in zip(one, other, strict=True))


def test_no_two_of_many_lines_look_alike():
    many = [Series(f"{n}", [(1, 1.0 * n), (2, 1.0 * n)]) for n in range(20)]
    tree = drawn(line_chart(many, title="t", x=X, y=Y))
    looks = []
    for item in tree.iter("li"):
        curve, mark = item[0]
        looks.append((item[0].get("class"), curve.get("stroke-dasharray"), mark.get("d")))
    assert len(set(looks)) == len(looks) == 20
    assert len(set(looks[:6])) == len({dash for _, dash, _ in looks[:6]}) == len({mark for *_, mark in looks[:6]})
    lines = [
        (g.get("class"), g.find("path[@class='curve']").get("stroke-dasharray")) for g in tree.findall(".//g[path]")
    ]
    assert lines == [(colour, dash) for colour, dash, _ in looks]


def test_it_is_told_in_words_and_named():
    tree = drawn(line_chart(CURVES, title="low shot", x=X, y=Y))
    svg = tree.find("svg")
    assert svg.get("role") == "img"
    assert "net D: from 40 at 1 to 70 at 8, highest 70 at 8." in svg.get("aria-label")
    assert [item[0].tail for item in tree.iter("li")] == ["net D", "D & <E>"]


def test_spreads_are_whiskers_and_widen_the_axis():
    tree = drawn(line_chart([Series("a", [(1, 50.0), (2, 60.0)], [(40.0, 95.0), (55.0, 65.0)])], title="t", x=X, y=Y))
    whiskers = tree.find(".//path[@class='whisker']").get("d")
    low, high = map(float, re.match(r"M[\d.]+ ([\d.]+)V([\d.]+)", whiskers).groups())
    up = ticks(tree, "end")
    assert low + 4 == float(up["40"].get("y"))
    assert high < float(up["80"].get("y")) - 4


def test_a_long_line_is_thinned_but_keeps_its_peak():
    points = [(float(n), 0.0) for n in range(10_000)]
    points[4321] = (4321.0, 7.0)
    chart = line_chart([Series("loss", points)], title="t", x=Axis("step"), y=Axis("loss"))
    tree = drawn(chart)
    assert len(chart) < 12_000
    six, eight = (float(ticks(tree, "end")[text].get("y")) - 4 for text in ("6", "8"))
    assert min(place[1] for place in places(tree)) == pytest.approx((six + eight) / 2, abs=0.1)


def test_one_point_and_equal_values_are_drawn():
    assert places(drawn(line_chart([Series("a", [(3, 5.0)])], title="t", x=X, y=Y)))
    assert places(drawn(line_chart([Series("a", [(1, 5.0), (2, 5.0)])], title="t", x=Axis("x"), y=Y)))


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([], "needs a series"),
        ([Series("a", [])], "every series a point"),
        ([Series("a", [(1, float("nan"))])], "recall, %: every value must be finite"),
        ([Series("a", [(0, 1.0)])], "images per class: every value must be finite and positive"),
    ],
)
def test_what_cannot_be_drawn_is_refused(series, message):
    with pytest.raises(ValueError, match=message):
        line_chart(series, title="t", x=X, y=Y)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2.2's contrast ratio; black on white is 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_formula():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", COLOURS)
@pytest.mark.parametrize("background", ["page", "card"])
def test_text_and_lines_stand_out_from_their_background(theme, background):
    colours = COLOURS[theme]
    texts = ("ink", "soft", "accent", "good", "bad")
    assert {name: contrast(colours[name], colours[background]) >= 4.5 for name in texts} == dict.fromkeys(texts, True)
    lines = [f"k{n}" for n in range(6)]
    assert {name: contrast(colours[name], colours[background]) >= 3 for name in lines} == dict.fromkeys(lines, True)


def test_an_axis_ends_where_values_can():
    y = Axis("%", within=(0.0, 100.0))
    tree = drawn(line_chart([Series("a", [(1, 99.8), (2, 97.0)], [(99.2, 100.4), (96, 98)])], title="t", x=X, y=y))
    up = ticks(tree, "end")
    assert max(map(float, up)) == 100
    whisker = tree.find(".//path[@class='whisker']").get("d")
    assert float(re.search(r"V([\d.]+)", whisker)[1]) + 4 == float(up["100"].get("y"))
    assert float(up["100"].get("y")) < 20  # the axis goes on no further


def test_an_axis_shows_as_much_as_it_must():
    y = Axis("%", within=(0.0, 100.0), span=2.0)
    up = ticks(drawn(line_chart([Series("a", [(1, 98.71), (2, 98.64)])], title="t", x=X, y=y)), "end")
    assert min(map(float, up)) <= 97.7
    assert 99.6 <= max(map(float, up)) <= 100


def test_ticks_have_as_many_digits_as_each_other():
    up = ticks(drawn(line_chart([Series("a", [(1, 1.0), (2, 2.4)])], title="t", x=X, y=Y)), "end")
    assert {len(text.partition(".")[2]) for text in up} == {1}


def test_a_short_logarithmic_axis_has_a_tick_at_both_ends():
    y = Axis("rate", log=True)
    up = ticks(drawn(line_chart([Series("a", [(1, 0.005), (2, 0.00005)])], title="t", x=X, y=y)), "end")
    assert [min(map(float, up)), max(map(float, up))] == [0.00005, 0.005]
