"""Which test images are shown, and what is drawn only from several results side by side."""

import re

import numpy as np
import pytest

from tests.reporting import gallery
from transferbench.reporting.overview import Reported
from transferbench.reporting.results_page import results_page
from transferbench.reporting.test_scores import SplitScores
from transferbench.reporting.views import View, examples
from transferbench.types.labels import ClassLabels, MultiLabels

IDS = ("i", "j", "k", "l", "m")


def chosen(labels, values, **options):
    scores = SplitScores.of(0, "1", IDS[: len(values)], labels, np.array(values))
    return [[(e.image_id, e.told) for e in some] for some in examples(scores, labels.classes, **options)]


def test_of_single_labels_the_widest_margin_comes_first():
    labels = ClassLabels(classes=("a", "b", "c"), by_id=dict.fromkeys(IDS, 0))
    # Margins 1, -2, 3, -0.5 and -1: neither the highest score (l) nor the highest score of another class decides.
    values = [[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, -2.0, -3.0], [8.0, 8.5, 0.0], [-3.0, -4.0, -2.0]]
    best, worst = chosen(labels, values)
    assert best == [("k", "a"), ("i", "a")]
    assert worst == [("j", "a, taken for b"), ("m", "a, taken for c"), ("l", "a, taken for b")]
    assert chosen(labels, values, n=1) == [best[:1], worst[:1]]


def test_of_several_labels_the_most_certain_mistake_comes_first_and_zero_is_none():
    labels = MultiLabels(
        classes=("a", "b", "c"), by_id={"i": (-1, 1, 1), "j": (1, -1, 1), "k": (-1, -1, -1), "l": (1, 1, -1)}
    )
    values = [[0.5, 1.0, 0.0], [2.0, 3.0, 0.0], [-1.0, -1.0, 0.0], [-4.0, 0.5, 0.0]]
    best, worst = chosen(labels, values)
    # Every image once and every class once; scores of 0 are on no side, and what is absent is no success.
    assert best == [("j", "a, score +2.00"), ("i", "b, score +1.00")]
    assert worst == [("l", "a missed, score -4.00"), ("j", "no b, but score +3.00")]


def test_few_training_images_are_drawn_as_a_curve_with_its_spread(result):
    ours = result.scores[0]
    curve = tuple(
        ours.model_copy(update={"train_per_class": count, "mean": mean, "std": std, "name": "pretrained"})
        for count, mean, std in ((1, 0.5, 0.1), (2, 0.6, None), (8, 0.8, 0.05))
    )
    text = results_page([View(Reported("folder", result.model_copy(update={"scores": curve}), None))])
    (figure,) = re.findall(r"<figure class=\"chart\"><figcaption>Few training images.*?</figure>", text, re.S)
    assert "demo_stack: pretrained: from 50 at 1 to 80 at 8, highest 80 at 8." in figure
    assert 'class="whisker"' in figure
    assert [str(n) in re.findall(r">(\d+)</text>", figure) for n in (1, 2, 8)] == [True] * 3
    assert "Few training images" not in results_page([View(Reported("folder", result, None))])


def test_a_curve_is_no_point_over_scales_and_its_classes_stand_beside_floors_of_the_same_count(result):
    ours, floor = result.scores
    scores = [
        variant.model_copy(update={"train_per_class": n, "title": f"{variant.name}, {n} per class"})
        for variant in (ours, floor)
        for n in (1, 8)
    ]
    curve = result.model_copy(update={"recipe_name": "demo_lowshot", "scores": tuple(scores)})
    text = results_page([View(Reported("a", result, None)), View(Reported("b", curve, None))])
    assert "Scales and their aggregation" not in text
    (table,) = re.findall(r'aria-label="Recall per class of demo_lowshot">(.*?)</thead>', text, re.S)
    titles = re.findall(r'class="number">([^<]+)</th>', table)
    assert titles == ["pretrained, 8 per class", "raw pixels, 8 per class"]


def test_scales_and_their_aggregation_are_drawn_side_by_side():
    views = [view for view in gallery.views() if view.entry.result.dataset == "caltech101"]
    (figure,) = re.findall(
        r"<figure class=\"chart\"><figcaption>Scales and their aggregation.*?</figure>", results_page(views), re.S
    )
    values = {
        (r.recipe["features"]["nets"][0]["name"], r.recipe["aggregate"]["kind"], *r.recipe["features"]["scales"]): 100
        * r.scores[0].mean
        for r in (view.entry.result for view in views)
    }
    single = [values["D", "stack", side] for side in (256, 384)]
    said = re.search(r"net D: single scales: from ([\d.]+) at 256 to ([\d.]+) at 384", figure)
    assert [float(value) for value in said.groups()] == pytest.approx(single, abs=0.06)
    for net, kind in (("D", "stack"), ("E", "average")):
        said = re.search(rf"net {net}: {kind} of [^:]+: from ([\d.]+) at 256 to ([\d.]+) at 512", figure)
        assert [float(value) for value in said.groups()] == pytest.approx(
            [values[net, kind, 256, 384, 512]] * 2, abs=0.06
        )
