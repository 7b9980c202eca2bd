"""Every deviation has its rule, and every rule finds its own deviation and nothing else."""

import pytest

from transferbench.reporting.compare import Comparison, compare
from transferbench.reporting.deviations import RULES, deviations
from transferbench.reporting.result import BlockRecord, SkippedImage
from transferbench.types.scores import MadeWith, PublishedRow

CALTECH = MadeWith(nets=("D",), aggregate="stack", scales=(256, 384))
FEW = MadeWith(nets=("D",), aggregate="stack", scales=(256, 384), train_per_class=30)
VOC = MadeWith(nets=("D",), aggregate="stack", scales=(256, 384), average_precision="eleven_point")


def row(made_with=CALTECH, value=0.918):
    return PublishedRow(
        key="x/vgg-d", metric="m", value=value, spread=None, source="Table 11", tolerance=0.01, made_with=made_with
    )


def block(name="D", engine="torch float32", rounding="ceil", interpolation="bicubic"):
    spec = {
        "net": {"name": name, "pool_rounding": rounding},
        "weights_sha256": "w",
        "short_side_px": 256,
        "preprocessing": {"interpolation": interpolation},
    }
    return BlockRecord(key="k" * 64, spec=spec, engine=engine)


def with_recipe(result, **changes):
    return result.model_copy(update={"recipe": {**result.recipe, **changes}})


def with_features(result, **changes):
    return with_recipe(result, features={**result.recipe["features"], **changes})


def with_origin(result, label="", **origin):
    weights = ({"net": {"name": "D"}, "sha256": "w" * 64, "label": label, "origin": origin},)
    return result.model_copy(update={"weights": weights})


def with_counts(result, *counts):
    """A curve over the number of training images in the place of the recipe's own line."""
    curve = [result.scores[0].model_copy(update={"train_per_class": n, "mean": 0.9 + n / 1000}) for n in counts]
    return result.model_copy(update={"scores": (*curve, *result.scores[1:])})


@pytest.fixture
def faithful(result):
    """As the paper did it: the authors' weights, no C at the edge."""
    scores = tuple(
        v.model_copy(update={"splits": tuple(s.model_copy(update={"C_at_edge": False}) for s in v.splits)})
        for v in result.scores
    )
    return with_origin(result.model_copy(update={"scores": scores, "blocks": (block(),)}), kind="import", original=True)


def found(result, made_with=CALTECH):
    return {(d.rule, d.effect): d.text for d in deviations(result, row(made_with))}


def test_a_faithful_result_deviates_in_nothing(faithful):
    assert found(faithful) == {}
    assert compare(faithful, row()).verdict == "within"


MOVES, OTHER, OPEN = "can move the number", "another quantity", "unknown"
CASES = {
    "trial": (lambda r: r.model_copy(update={"limit": 5}), CALTECH, OTHER, "up to 5 images of every class"),
    "test part": (lambda r: r, MadeWith(nets=("D",), test="server", scales=(256, 384)), OTHER, "tested on val"),
    "average precision": (
        lambda r: r.model_copy(update={"metric": "mean average precision (area)"}),
        VOC,
        OTHER,
        "the published one is the 11-point one",
    ),
    "nets": (
        lambda r: with_features(r, nets=[{"name": "E", "width": 1.0, "crop": 224}]),
        CALTECH,
        OTHER,
        "made with net E; the published one with D",
    ),
    "regions": (
        lambda r: r,
        MadeWith(nets=("D",), regions=("image", "box"), scales=(256, 384)),
        OTHER,
        "features of image; the published ones of image and box",
    ),
    "weights": (
        lambda r: with_origin(r, "retrained by torchvision, not the paper's", kind="import", original=False),
        CALTECH,
        MOVES,
        "net D: weights retrained by torchvision, not the paper's",
    ),
    "preprocessing": (
        lambda r: r.model_copy(update={"blocks": (block(rounding="floor"),)}),
        CALTECH,
        MOVES,
        "net D: pooling rounds odd sides down",
    ),
    "scales": (
        lambda r: with_features(r, scales=[256]),
        CALTECH,
        MOVES,
        "scales 256 px; the published ones are 256, 384",
    ),
    "aggregation": (
        lambda r: with_recipe(r, aggregate={"kind": "max", "l2": "both"}),
        CALTECH,
        MOVES,
        "aggregated by max; the published ones by stack",
    ),
    "normalisation": (
        lambda r: with_recipe(r, aggregate={"kind": "stack", "l2": "none"}),
        CALTECH,
        MOVES,
        "features keep their length",
    ),
    "mirrored image": (lambda r: with_features(r, flip=False), CALTECH, MOVES, "without the mirrored image"),
    "splits": (
        lambda r: r,
        MadeWith(nets=("D",), scales=(256, 384), splits=3),
        MOVES,
        "2 splits; the published mean is of 3",
    ),
    "training images": (
        lambda r: with_counts(r, 4, 8),
        FEW,
        OTHER,
        "trained on 8 of every class (low_shot); the published number on 30",
    ),
    "edge of C": (
        lambda r: r.model_copy(
            update={
                "scores": (
                    r.scores[0].model_copy(
                        update={"splits": (r.scores[0].splits[0].model_copy(update={"C_at_edge": True}),)}
                    ),
                )
            }
        ),
        CALTECH,
        MOVES,
        "the best C is at the edge of the grid (C=1 in split 1 of 2)",
    ),
    "precision": (
        lambda r: r.model_copy(update={"blocks": (block(), block(engine="torch bfloat16"))}),
        CALTECH,
        MOVES,
        "in reduced precision (torch bfloat16)",
    ),
    "code": (
        lambda r: r.model_copy(update={"git_commit": "abc-dirty"}),
        CALTECH,
        OPEN,
        "changes that are in no commit",
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_finds_its_deviation_alone(faithful, rule):
    change, made_with, effect, text = CASES[rule]
    texts = found(change(faithful), made_with)
    assert text in texts.pop((rule, effect))
    assert {other for other, _ in texts} <= {rule}


NOT_OTHERWISE = {
    "test part": (lambda r: r, MadeWith(nets=("D",), aggregate="stack", scales=(256, 384), test="local")),
    "average precision": (lambda r: r.model_copy(update={"metric": "mean average precision (11-point)"}), VOC),
    "nets": (lambda r: with_features(r, nets=[{"name": "D", "width": 1.0, "crop": 224, "layer": "fc7"}]), CALTECH),
    "regions": (
        lambda r: with_features(r, regions=["image", "box"]),
        MadeWith(nets=("D",), regions=("image", "box"), scales=(256, 384)),
    ),
    "normalisation": (lambda r: with_recipe(r, aggregate={"kind": "stack", "l2": "global"}), CALTECH),
    "training images": (lambda r: with_counts(r, 4, 30), FEW),
    "training images of no curve": (lambda r: r, FEW),
    "precision": (lambda r: r.model_copy(update={"blocks": (block(), block(engine="ncnn float32"))}), CALTECH),
    "precision that early blocks do not state": (
        lambda r: r.model_copy(update={"blocks": (block(engine=""),)}),
        CALTECH,
    ),
    "code": (lambda r: r.model_copy(update={"git_commit": "abc"}), CALTECH),
}


@pytest.mark.parametrize("rule", NOT_OTHERWISE)
def test_a_rule_is_silent_where_it_was_done_as_published(faithful, rule):
    change, made_with = NOT_OTHERWISE[rule]
    assert found(change(faithful), made_with) == {}


def test_of_as_many_splits_only_their_draw_is_open(faithful):
    texts = found(faithful, MadeWith(nets=("D",), aggregate="stack", scales=(256, 384), splits=2))
    assert list(texts) == [("splits", OPEN)]


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        ({"kind": "run"}, "net D: weights of an own pretraining, not the authors'"),
        (
            {"kind": "run", "limit": 3},
            "net D: weights of an own pretraining, a TRIAL with up to 3 images of every class, not the authors'",
        ),
        ({"kind": "random", "seed": 0}, "net D: random weights, not the authors'"),
        ({"kind": "import"}, "net D: weights that are not known to be the authors'"),
    ],
)
def test_it_says_whose_weights_they_are(faithful, origin, text):
    assert list(found(with_origin(faithful, **origin)).values()) == [text]


def test_a_slim_net_and_another_layer_are_named(faithful):
    slim = with_features(faithful, nets=[{"name": "D", "width": 0.125, "crop": 64, "layer": "fc6"}])
    assert [(d.effect, d.text) for d in deviations(slim, row())] == [
        (MOVES, "net D at width 0.125 and crop 64, not the paper's 1 and 224"),
        (MOVES, "layer fc6 of net D; the paper takes fc7"),
    ]


def test_other_rescaling_is_named_as_open(faithful):
    changed = faithful.model_copy(update={"blocks": (block(interpolation="bilinear"),)})
    assert "rescaled bilinearly" in found(changed)["preprocessing", OPEN]


def test_an_unstated_definition_is_told_with_the_other_values(faithful):
    made_with = MadeWith(
        nets=("D",), scales=(256, 384), average_precision="eleven_point", average_precision_stated=False
    )
    others = (("mean average precision (area)", 0.951),)
    scores = tuple(
        v.model_copy(update={"splits": tuple(s.model_copy(update={"others": others}) for s in v.splits)})
        for v in faithful.scores
    )
    voc = faithful.model_copy(update={"metric": "mean average precision (11-point)", "scores": scores})
    text = found(voc, made_with)["average precision", OPEN]
    assert "does not say which" in text
    assert "mean average precision (area) 95.1" in text
    assert compare(voc, row(made_with)).verdict == "within"
    alone = found(faithful.model_copy(update={"metric": voc.metric}), made_with)["average precision", OPEN]
    assert alone.endswith("as the dataset's own kit computes it")  # a result without other definitions


def test_unstated_scales_are_told(faithful):
    assert "the paper does not say which" in found(faithful, MadeWith(nets=("D",)))["scales", OPEN]


def test_a_row_of_another_kind_is_not_held_against_the_paper(faithful):
    features = {"nets": [{"name": "A", "width": 0.125, "crop": 64}], "scales": [64], "flip": False, "regions": ["box"]}
    changed = with_origin(with_features(faithful, **features), kind="run")
    assert found(with_recipe(changed, aggregate={"kind": "max", "l2": "none"}), None) == {}


def test_the_end_of_a_low_shot_curve_stands_beside_the_paper(faithful):
    assert compare(with_counts(faithful, 4, 30), row(FEW)).ours == 0.9 + 30 / 1000


def test_fewer_training_images_are_told_beside_a_row_of_given_lists(faithful):
    for made_with in (None, MadeWith(nets=("D",), aggregate="stack", scales=(256, 384))):
        text = found(with_counts(faithful, 4, 8), made_with)["training images", OTHER]
        assert text == "trained on 8 of every class (low_shot); the published number on all training images"


def test_skipped_images_are_counted_and_named(faithful):
    skipped = tuple(SkippedImage(id=f"img{n}", reason="empty") for n in range(5))
    with_skipped = faithful.model_copy(update={"skipped": skipped})
    assert found(with_skipped)["skipped images", MOVES] == (
        "5 images could not be decoded and were left out (img0, img1, img2 and 2 more)"
    )
    few = found(faithful.model_copy(update={"skipped": skipped[:3]}))["skipped images", MOVES]
    assert few == "3 images could not be decoded and were left out (img0, img1, img2)"
    one = found(faithful.model_copy(update={"skipped": skipped[:1]}))["skipped images", MOVES]
    assert one == "1 image could not be decoded and was left out (img0)"


def test_every_rule_has_a_case():
    assert set(RULES) == set(CASES) | {"skipped images"}


def test_what_makes_it_another_quantity_comes_first(faithful):
    dirty = faithful.model_copy(update={"git_commit": "abc-dirty", "limit": 3})
    kinds = [d.effect for d in deviations(with_recipe(dirty, aggregate={"kind": "max", "l2": "both"}), row())]
    assert kinds == [OTHER, MOVES, OPEN]


@pytest.mark.parametrize(
    ("ours", "verdict"), [(0.928, "within"), (0.908, "within"), (0.9281, "outside"), (0.9079, "outside")]
)
def test_the_verdict_is_the_stated_tolerance(ours, verdict):
    assert Comparison(row=row(), ours=ours).verdict == verdict


def test_a_tolerance_is_not_missed_by_rounding():
    # 0.903 - 0.893 is 0.010000000000000009 in floating point.
    assert Comparison(row=row(value=0.893), ours=0.903).verdict == "within"


def test_a_trial_is_never_within(faithful):
    assert compare(faithful.model_copy(update={"limit": 5}), row()).verdict == "not comparable"
