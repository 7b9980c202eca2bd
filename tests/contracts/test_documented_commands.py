"""Every command in README and docs exists, and is run here or marked as needing what a test does not have."""

import dataclasses
import doctest
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from transferbench.cli import main
from transferbench.reporting.deviations import RULES

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    TOP / "README.md",
    TOP / "CONTRIBUTING.md",
    TOP / "recipes" / "README.md",
    *(path for path in sorted((TOP / "docs").glob("*.md")) if path.name != "cli-reference.md"),
    *sorted(TOP.glob("datasets/*/README.md")),
]
FENCED = re.compile(r"^```(?:sh|console|text)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
NAMED = [str(path.relative_to(TOP)) for path in DOCUMENTS]
ELSEWHERE = ("make ", "pip ", "torchrun ", "TB_")


def commands(document):
    """Commands in fenced blocks, and whether a line ``# needs ...`` before them in their block marks them."""
    for block in FENCED.findall((TOP / document).read_text()):
        marked = False
        for line in block.splitlines():
            marked = marked or line.startswith("# needs ")
            command = re.split(r"\s#|\s{2,}", line.removeprefix("$ "))[0].strip()
            if command.startswith(("tb ", *ELSEWHERE)):
                yield command, marked


def inline(document):
    """Commands named in a sentence or a table."""
    text = re.sub(r"^```.*?^```", "", (TOP / document).read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`(tb [a-z][^`]*)`", text)


def resolved(words):
    """The command that words name; raises what click raises for an unknown command or option."""
    command = main
    while isinstance(command, click.Group) and words:
        name, *words = words
        assert name in command.commands, f"no such command: {name}"
        command = command.commands[name]
    return command, words


def every():
    return [(document, *found) for document in NAMED for found in commands(document)]


@pytest.mark.parametrize("document", NAMED)
def test_documented_commands_exist_with_their_options(document):
    for text in [command for command, _ in commands(document)] + inline(document):
        if not text.startswith("tb "):
            continue
        command, words = resolved(shlex.split(text)[1:])
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        stray = [word for word in words if word.startswith("--") and word.split("=")[0] not in known | {"--help"}]
        assert not stray, f"{document}: {text}: unknown {', '.join(stray)}"


def test_what_is_not_ours_is_marked_or_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), flags=re.MULTILINE))
    for document, command, marked in every():
        if command.startswith("make "):
            assert set(shlex.split(command)[1:]) <= targets, f"{document}: {command}"
        elif not command.startswith("tb "):
            assert marked, f"{document}: {command}: mark it by a line '# needs ...' before it in its block"


def test_commands_that_need_nothing_work_one_after_the_other(experiment, tmp_path):
    """In a work folder where the first experiment is done, so that `tb run digits_stack` takes no minute again."""
    tb = dataclasses.replace(
        experiment.tb, home=Path(shutil.copytree(experiment.tb.home, tmp_path / "home")), cwd=tmp_path
    )
    ours = {command: document for document, command, marked in every() if command.startswith("tb ") and not marked}
    assert ours["tb run digits_stack"] == "README.md"
    assert len(ours) >= 8
    for command, document in ours.items():
        done = tb(*shlex.split(command)[1:])
        assert done.code == 0, f"{document}: {command}\n{done.err}"
    assert r"\begin{tabular}" in (tmp_path / "table.tex").read_text()


@pytest.mark.parametrize("document", NAMED)
def test_worked_examples_give_what_they_say(document):
    for number, block in enumerate(re.findall(r"^```pycon\n(.*?)^```", (TOP / document).read_text(), re.M | re.S)):
        example = doctest.DocTestParser().get_doctest(block, {}, f"{document}, example {number + 1}", document, 0)
        told = []
        doctest.DocTestRunner().run(example, out=told.append)
        assert not told, "".join(told)


def test_every_definition_has_a_worked_example_and_every_rule_its_line():
    text = (TOP / "docs" / "metrics.md").read_text()
    assert text.count("```pycon") >= 4
    assert re.findall(r"^\| ([\w ]+) \|", text.partition("by these rules:")[2], flags=re.M)[1:] == list(RULES)
