"""Every command that the pages on recipes show parses, and every recipe that they name is there."""

import re
from pathlib import Path

import pytest

from transferbench.cli import main
from transferbench.recipe.files import load, shipped
from transferbench.recipe.transfer import Recipe

TOP = Path(__file__).resolve().parents[2]
PAGES = ("recipes.md", "reproducing-the-paper.md")
COMMANDS = [
    command
    for page in PAGES
    for command in re.findall(r"^(tb .+)$", (TOP / "docs" / page).read_text(), flags=re.MULTILINE)
]


def test_the_pages_show_commands():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_the_pages_parses(command):
    words, context = command.split()[1:], main
    while hasattr(context, "commands"):
        context = context.commands[words.pop(0)]
    context.make_context(context.name, words)


def test_the_recipes_in_the_pages_are_there():
    text = (TOP / "docs" / "reproducing-the-paper.md").read_text()
    named = set(re.findall(r"`((?:voc|caltech)\w+_(?:average|stack|image|image_box)(?:_e|_de)?)`", text))
    assert named == {name for name in shipped(Recipe) if load(name, Recipe).claims and not name.startswith("digits")}
