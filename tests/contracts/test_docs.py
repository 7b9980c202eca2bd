import re
from pathlib import Path

import click
import pytest

from transferbench import errors
from transferbench.cli import main

TOP = Path(__file__).resolve().parents[2]


def commands(command=main, path=("tb",)):
    yield " ".join(path), command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


LEAVES = [(name, command) for name, command in commands() if not isinstance(command, click.Group)]
leaves = pytest.mark.parametrize(("name", "command"), LEAVES, ids=[name for name, _ in LEAVES])


@leaves
def test_every_command_has_an_example_that_parses(name, command):
    examples = re.findall(r"^\s*(tb .+)$", command.help.partition("Example:")[2], flags=re.MULTILINE)
    assert examples
    for example in examples:
        words = example.split()[len(name.split()) :]
        assert example.startswith(name)
        # click remembers the options of help that it meets first, for the whole process.
        command.make_context(name, words, help_option_names=["-h", "--help"])


@leaves
def test_every_option_has_a_help_text(name, command):
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@leaves
def test_every_command_is_in_the_reference(name, command):
    assert f"## {name}\n" in (TOP / "docs" / "cli-reference.md").read_text()


def test_every_table_can_be_printed_as_json():
    assert all(any("--json" in p.opts for p in command.params) for _, command in LEAVES)


def test_dash_h_works_everywhere(tb):
    for name, _ in commands():
        done = tb(*name.split()[1:], "-h")
        assert done.code == 0
        assert done.out.startswith(f"Usage: {name} ")


def test_every_error_is_drawn_in_the_tree():
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__))
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value is not errors.TransferbenchError
    }
    assert drawn == defined
    assert all(issubclass(getattr(errors, name), errors.TransferbenchError) for name in defined)


def test_links_in_the_documents_lead_somewhere():
    for document in [*TOP.glob("*.md"), *(TOP / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_the_makefile_names_are_documented():
    text = (TOP / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.+)$", text, flags=re.MULTILINE)[1].split()
    assert set(targets) >= {"help", "run", "install", "fix", "check", "test", "bench", "docs", "smoke", "clean"}
    assert all(re.search(rf"^{target}:.*## \w", text, flags=re.MULTILINE) for target in targets)
