"""Every shipped document is valid, and says how to run it."""

from pathlib import Path

import pytest

from transferbench import builtin
from transferbench.data.published import load_published
from transferbench.data.record import load_record, record_names
from transferbench.pipeline.check import check_files
from transferbench.recipe.files import shipped
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.recipe.transfer import Recipe

RECIPES = [(name, path, kind) for kind in (Recipe, PretrainRecipe) for name, path in shipped(kind).items()]


def test_every_recipe_in_the_folder_is_checked_and_right():
    verdicts = check_files(None)
    assert len(verdicts) == len(list(builtin.folder("recipes").rglob("*.yaml"))) == len(RECIPES)
    assert {name: problem for name, problem in verdicts.items() if problem} == {}


@pytest.mark.parametrize(("name", "path", "kind"), RECIPES, ids=[name for name, _, _ in RECIPES])
def test_a_recipe_says_what_it_is_and_how_to_run_it(name, path, kind):
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    command = f"tb run {name}" if kind is Recipe else f"tb pretrain --recipe {name}"
    assert any(line.startswith("# Run:") and command in line for line in head)
    assert kind is PretrainRecipe or any(line.startswith("# Claims:") for line in head)


@pytest.mark.parametrize("name", record_names())
def test_a_dataset_has_record_published_numbers_and_readme(name):
    assert load_record(name).name == name
    assert all(0 < row.value < 1 for row in load_published(name).values())
    assert (builtin.folder("datasets") / name / "README.md").read_text().startswith(f"# {name}")


def test_document_folders_hold_no_python():
    for kind in ("recipes", "datasets"):
        assert not list(Path(builtin.folder(kind)).rglob("*.py"))
