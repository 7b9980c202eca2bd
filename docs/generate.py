"""Write the documents that follow from the code, or with --check compare them: `make docs`, `make check`."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from transferbench.cli import main as tb
from transferbench.data.record import published_row
from transferbench.recipe import PretrainRecipe, Recipe, load, shipped, summary
from transferbench.reporting.tables import markdown_table, percent

TOP = Path(__file__).resolve().parent.parent
_WIDTH = 100


def commands(command: click.Command, path: tuple[str, ...], parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command,
        info_name=path[-1],
        parent=parent,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    yield " ".join(path), command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from commands(child, (*path, name), context)


def cli_reference() -> str:
    sections = [f"## {name}\n\n```text\n{text}\n```" for name, text in commands(tb, ("tb",), None)]
    head = "# Command line\n\nWritten by `make docs` from the help texts; `make check` compares it."
    codes = (
        "Exit codes: 0 done, 1 an error that the message tells how to mend, 2 wrong usage, 130 interrupted, "
        "143 terminated. Stdout is data, stderr is progress and warnings."
    )
    return "\n\n".join([head, codes, *sections]) + "\n"


def recipes_readme() -> str:
    head = "# Recipes\n\nWritten by `make docs` from the files; `make check` compares it."
    how = "`tb run NAME` does a transfer experiment, `tb pretrain --recipe NAME` a pretraining."
    transfer = [[f"`{name}`", summary(path), _claim(load(name, Recipe))] for name, path in shipped(Recipe).items()]
    pretraining = [[f"`{name}`", summary(path)] for name, path in shipped(PretrainRecipe).items()]
    parts = [
        head,
        how,
        "## Transfer experiments",
        markdown_table(("recipe", "what", "claims"), transfer),
        "## Pretraining",
        markdown_table(("recipe", "what"), pretraining),
    ]
    return "\n\n".join(parts) + "\n"


def _claim(recipe: Recipe) -> str:
    if recipe.claims is None:
        return ""
    row = published_row(recipe.dataset, recipe.claims)
    return f"{percent(row.value, row.spread)} ({row.source})"


DOCUMENTS = {"docs/cli-reference.md": cli_reference, "recipes/README.md": recipes_readme}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a document is out of date")
    check = parser.parse_args().check
    stale = [name for name, write in DOCUMENTS.items() if _read(TOP / name) != write()]
    if check and stale:
        sys.exit(f"out of date: {', '.join(stale)}. Run `make docs` and commit what it writes.")
    for name in stale:
        (TOP / name).write_text(DOCUMENTS[name](), encoding="utf-8")
        print(f"wrote {name}")


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    main()
