"""Every number of Tables 11 and 12 that is ours to reproduce has its recipe, set up as Appendix B says."""

import re

import pytest

from transferbench.data.published import load_published
from transferbench.data.record import load_record, record_names
from transferbench.recipe.files import load, shipped
from transferbench.recipe.transfer import Recipe

# Table 11, the rows of the paper's own nets, and Table 12, typed in from the paper: value and spread.
TABLE_11 = {
    "D": {"voc2007": (89.3, None), "voc2012": (89.0, None), "caltech101": (91.8, 1.0), "caltech256": (85.0, 0.2)},
    "E": {"voc2007": (89.3, None), "voc2012": (89.0, None), "caltech101": (92.3, 0.5), "caltech256": (85.1, 0.3)},
    "DE": {"voc2007": (89.7, None), "voc2012": (89.3, None), "caltech101": (92.7, 0.5), "caltech256": (86.2, 0.3)},
}
TABLE_12 = {("image",): 79.2, ("image", "box"): 84.0}
FIVE, THREE = (256, 384, 512, 640, 768), (256, 384, 512)
RECIPES = {name: load(name, Recipe) for name in shipped(Recipe)}


def nets(recipe):
    return "".join(net.name for net in recipe.features.nets)


def claimants(dataset, wanted, regions=("image",)):
    return [
        name
        for name, recipe in RECIPES.items()
        if recipe.claims and (recipe.dataset, nets(recipe), recipe.features.regions) == (dataset, wanted, regions)
    ]


@pytest.mark.parametrize("dataset", ["voc2007", "voc2012", "caltech101", "caltech256"])
@pytest.mark.parametrize("wanted", TABLE_11)
def test_every_cell_of_table_11_has_its_recipe(wanted, dataset):
    (name,) = claimants(dataset, wanted)
    recipe, row = RECIPES[name], load_published(dataset)[RECIPES[name].claims]
    value, spread = TABLE_11[wanted][dataset]
    assert (round(100 * row.value, 1), row.spread and round(100 * row.spread, 1)) == (value, spread)
    voc = dataset.startswith("voc")
    assert recipe.features.scales == (FIVE if voc else THREE)
    assert (recipe.aggregate.kind, recipe.aggregate.l2) == ("average" if voc else "stack", "both")
    assert recipe.features.flip


@pytest.mark.parametrize("regions", TABLE_12)
def test_every_row_of_table_12_has_its_recipe(regions):
    (name,) = claimants("voc2012_action", "DE", regions)
    row = load_published("voc2012_action")[RECIPES[name].claims]
    assert round(100 * row.value, 1) == TABLE_12[regions]
    assert RECIPES[name].features.scales == FIVE
    for one in "DE":
        assert any(
            r.dataset == "voc2012_action" and r.features.regions == regions and nets(r) == one for r in RECIPES.values()
        )


def test_no_published_row_of_ours_is_without_exactly_one_recipe():
    ours = {key for name in record_names() for key, row in load_published(name).items() if "row VGG" in row.source}
    claimed = sorted(recipe.claims for recipe in RECIPES.values() if recipe.claims)
    assert len(ours) == 14
    assert sorted(ours | {"digits/A-slim/stack", "digits/A-slim/average"}) == claimed


@pytest.mark.parametrize("name", RECIPES)
def test_the_header_tells_the_claimed_row_or_why_there_is_none(name):
    recipe = RECIPES[name]
    head = shipped(Recipe)[name].read_text().partition("version:")[0]
    said = re.search(r"^# Claims:\s+(.+)$", head, flags=re.MULTILINE)[1]
    if recipe.claims is None:
        assert said.startswith("nothing; ")
    elif recipe.dataset != "digits":
        row = load_published(recipe.dataset)[recipe.claims]
        spread = "" if row.spread is None else f" ± {100 * row.spread:.1f}"
        assert said == f"{100 * row.value:.1f}{spread}, {row.source}"


def test_what_is_not_the_papers_says_so():
    own = {name for name, recipe in RECIPES.items() if recipe.dataset.startswith("coco")}
    assert own
    for name in own:
        assert "our own addition, not in the paper" in shipped(Recipe)[name].read_text()


def test_every_target_and_every_ablation_of_the_text_has_a_recipe():
    targets = {name for name in record_names() if load_record(name).protocol.kind != "pretraining"}
    assert {recipe.dataset for recipe in RECIPES.values()} == targets
    have = {(r.dataset, r.aggregate.kind, r.features.scales) for r in RECIPES.values() if nets(r) == "D"}
    for dataset in ("voc2007", "voc2012"):
        assert {(dataset, "stack", FIVE), (dataset, "average", THREE)} <= have
    for dataset in ("caltech101", "caltech256"):
        assert {(dataset, "average", THREE), (dataset, "max", THREE)} <= have
        assert {(dataset, "stack", (q,)) for q in THREE} <= have
    assert {("voc2007", "average", (q,)) for q in FIVE} <= have


def test_the_command_that_must_always_work_names_a_recipe():
    recipe = RECIPES["caltech256_stack"]
    assert (recipe.dataset, recipe.aggregate.kind, nets(recipe)) == ("caltech256", "stack", "D")


def test_what_a_published_row_was_made_with_is_what_its_recipe_does():
    for name, recipe in RECIPES.items():
        if recipe.claims is None or "row VGG" not in (row := load_published(recipe.dataset)[recipe.claims]).source:
            continue
        stated, record = row.made_with, load_record(recipe.dataset)
        assert stated is not None, recipe.claims
        assert "".join(stated.nets) == nets(recipe), name
        assert stated.scales in {(), recipe.features.scales}, name
        assert stated.aggregate in {None, recipe.aggregate.kind}, name
        assert stated.regions == recipe.features.regions, name
        assert stated.average_precision == record.average_precision, name
        assert (stated.test == "server") == (record.protocol.kind == "server_test"), name
        assert stated.splits == getattr(record.protocol, "splits", None), name
