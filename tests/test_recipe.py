import pytest

from transferbench.errors import DocumentError, UnknownNameError
from transferbench.pipeline.check import check
from transferbench.recipe.files import find, find_any, kind_of, load, shipped, to_dict
from transferbench.recipe.nets import RunWeights
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.recipe.transfer import Recipe


def test_a_shipped_recipe_is_a_complete_value():
    recipe = load("digits_stack", Recipe)
    assert recipe.features.scales == (64, 96, 128)
    assert recipe.aggregate.kind == "stack"
    assert to_dict(recipe)["features"]["nets"][0]["weights"] == {"kind": "run", "recipe": "digits_a"}


def test_names_and_paths_are_found(quick_recipe):
    assert find("digits_stack", Recipe) == shipped(Recipe)["digits_stack"]
    assert find(str(quick_recipe), Recipe) == quick_recipe
    assert find_any("digits_a") == shipped(PretrainRecipe)["digits_a"]


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'digits_stack'"):
        find("digit_stack", Recipe)
    with pytest.raises(UnknownNameError, match="Did you mean 'digits_a'"):
        find("digit_a", PretrainRecipe)


def test_a_missing_path_is_an_error(tmp_path):
    with pytest.raises(DocumentError, match="no such file"):
        find(str(tmp_path / "none.yaml"), Recipe)


def test_the_kind_of_a_file_is_told_from_its_keys(quick_recipe):
    assert kind_of(quick_recipe) is Recipe
    assert kind_of(shipped(PretrainRecipe)["digits_a"]) is PretrainRecipe


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("dataset: digits", "dataset: digit", "Did you mean 'digits'"),
        ("name: A,", "name: F,", "unknown net 'F'"),
        ("[32, 48]", "[48, 32]", "write 32,48"),
        ("[32, 48]", "[16, 32]", "smaller than the crop of net A"),
        ("width: 0.03125", "width: 0.03", "does not give whole channel counts"),
        ("[1.0, 10.0]", "[10.0, 1.0]", "C must ascend"),
        ("[1.0, 10.0]", "[0.0]", "greater than 0"),
        ("l2: both", "l2: twice", "input should be 'none'"),
        ("kind: stack", "kind: stak", "must be one of 'stack', 'average', 'max'"),
        ("version: 1", "version: 2", "input should be 1"),
    ],
)
def test_a_mistake_is_named(quick_recipe, old, new, problem):
    text = quick_recipe.read_text()
    assert old in text
    quick_recipe.write_text(text.replace(old, new))
    with pytest.raises(DocumentError, match=problem):
        load(str(quick_recipe), Recipe)


def test_other_documents_must_know_the_names(quick_recipe):
    text = (
        quick_recipe.read_text()
        .replace("{kind: random, seed: 3}", "{kind: run, recipe: digits_b}")
        .replace("claims: null", "claims: digits/none")
    )
    quick_recipe.write_text(text)
    with pytest.raises(DocumentError, match=r"2 problem\(s\)") as caught:
        check(load(str(quick_recipe), Recipe))
    assert "features.nets[0].weights.recipe: unknown pretraining recipe 'digits_b'. Did you mean 'digits_a'?" in str(
        caught.value
    )
    assert "claims: unknown published row of digits 'digits/none'" in str(caught.value)


def test_a_net_that_the_pretraining_does_not_make_is_refused(quick_recipe):
    quick_recipe.write_text(
        quick_recipe.read_text().replace("{kind: random, seed: 3}", "{kind: run, recipe: digits_a}")
    )
    with pytest.raises(
        DocumentError,
        match=r"net A at width 0.03125, crop 32 is asked for, but digits_a trains net A at width 0.125, crop 64",
    ):
        check(load(str(quick_recipe), Recipe))


@pytest.mark.parametrize(
    ("named", "recipe"),
    [
        ("digits_a", "digits_a"),
        ("digits_a@best", "digits_a"),
        ("./mine.yaml@best", "./mine.yaml"),
        ("digits_a-f07b91c2", None),
        ("digits_a-f07b91c2@best", None),
    ],
)
def test_weights_of_a_run_name_a_recipe_or_a_folder(named, recipe):
    assert RunWeights(kind="run", recipe=named).trained_by == recipe
