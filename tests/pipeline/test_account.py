"""How an evaluation is told: every number in its place, and what it is a number of."""

from types import SimpleNamespace

import numpy as np
import pytest

from transferbench.evaluation.protocol import Evaluation, SplitResult
from transferbench.pipeline.account import variant_score
from transferbench.pipeline.inputs import Round
from transferbench.reporting.result import SplitScore, VariantScore
from transferbench.types.net import NetSpec
from transferbench.types.scores import Score
from transferbench.types.split import Split

SPLIT = Split(name="1 of 2", fit=("a", "b", "c"), validation=("d", "e"), test=("f", "g", "h", "i"))


def split_result(**changes):
    found = {
        "split": SPLIT,
        "C": 1.0,
        "validation": {0.1: 0.5, 1.0: 0.75, 10.0: 0.625},
        "score": Score(metric="first", value=0.5, per_class=(1.0, 0.0), n_test=4),
        "others": (Score(metric="second", value=0.25, per_class=(0.5, 0.0), n_test=4),),
        "confusion": np.array([[2, 0], [1, 1]]),
        "scores": np.zeros((4, 2)),
    }
    return SplitResult(**found | changes)


def variant(*parts, name="pretrained"):
    """Parts are told by net, what it is shown, and whether it is random."""
    made = [
        SimpleNamespace(
            blocks=[SimpleNamespace(spec=SimpleNamespace(net=NetSpec(name=net), region=region))], is_random=is_random
        )
        for net, region, is_random in parts
    ]
    return SimpleNamespace(name=name, parts=made)


def test_every_number_has_its_place():
    found = Evaluation(splits=(split_result(), split_result(C=10.0, confusion=None)), mean=0.5, std=0.125)
    told = variant_score(variant(("D", "image", False)), Round(None, (SPLIT,), (0.1,)), 8192, found)
    split = SplitScore(
        name="1 of 2",
        sha256=SPLIT.sha256,
        n_fit=3,
        n_validation=2,
        n_test=4,
        C=1.0,
        C_at_edge=False,
        validation=((0.1, 0.5), (1.0, 0.75), (10.0, 0.625)),
        value=0.5,
        per_class=(1.0, 0.0),
        confusion=((2, 0), (1, 1)),
        others=(("second", 0.25),),
    )
    at_edge = split.model_copy(update={"C": 10.0, "C_at_edge": True, "confusion": ()})
    assert told == VariantScore(
        name="pretrained",
        title="pretrained, net D",
        dimensions=8192,
        mean=0.5,
        std=0.125,
        splits=(split, at_edge),
    )


@pytest.mark.parametrize(
    ("parts", "name", "few", "title"),
    [
        ([("D", "image", False), ("E", "image", False)], "pretrained", None, "pretrained, net D & net E"),
        ([("D", "image", True), ("E", "image", True)], "pretrained", None, "random weights, net D & net E"),
        ([("D", "image", True), ("E", "image", False)], "pretrained", None, "pretrained, net D & net E"),
        ([("D", "image", False), ("D", "box", False)], "pretrained", None, "pretrained, net D, image and box"),
        ([("D", "box", False)], "pretrained", 4, "pretrained, net D, box, 4 per class"),
        ([("D", "image", True)], "random weights", 4, "random weights, 4 per class"),
    ],
)
def test_a_line_says_what_it_is_of(parts, name, few, title):
    found = Evaluation(splits=(split_result(),), mean=0.5, std=None)
    told = variant_score(variant(*parts, name=name), Round(few, (SPLIT,), (0.1,)), 1, found)
    assert (told.title, told.train_per_class, told.std) == (title, few, None)
