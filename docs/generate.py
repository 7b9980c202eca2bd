"""Write the documents that follow from the code, or with --check compare them: `make docs`, `make check`."""

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from transferbench.cli import main as tb
from transferbench.data.images import rescaled_size
from transferbench.data.published import published_row
from transferbench.data.record import load_record
from transferbench.nets.costs import dense_macs, descriptor_dimensions
from transferbench.recipe.files import load, shipped, summary
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.recipe.transfer import Recipe
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
    transfer = [
        [f"`{name}`", summary(path), _claim(load(name, Recipe)), *_cost(load(name, Recipe))]
        for name, path in shipped(Recipe).items()
    ]
    pretraining = [[f"`{name}`", summary(path)] for name, path in shipped(PretrainRecipe).items()]
    parts = [
        head,
        how,
        "## Transfer experiments",
        _COSTS,
        markdown_table(("recipe", "what", "claims", "10¹² multiply-adds", "cache, GB"), transfer, right=_RIGHT),
        "## Pretraining",
        markdown_table(("recipe", "what"), pretraining),
    ]
    return "\n\n".join(parts) + "\n"


_RIGHT = ("10¹² multiply-adds", "cache, GB")
_COSTS = (
    "Costs are computed from the record's number of images, as if all were 500 × 375 px and nothing was cached; whole "
    "images only, floors left out. What your images and your machine make of it: `tb plan NAME`."
)


def _cost(recipe: Recipe) -> tuple[str, str]:
    """Multiply-adds of extraction, and bytes of its descriptors."""
    images = load_record(recipe.dataset).images
    if images is None or recipe.dataset == "digits":
        return "", ""
    specs = [net.spec(1000) for net in recipe.features.nets]
    sizes = [rescaled_size(500, 375, side) for side in recipe.features.scales]
    views = images * (2 if recipe.features.flip else 1)
    macs = views * sum(dense_macs(spec, *size) for spec in specs for size in sizes)
    kept = images * sum(descriptor_dimensions(spec, "fc7+relu") * 4 for spec in specs for _ in sizes)
    return f"{macs / 1e12:,.0f}", f"{kept / 1e9:.1f}"


def _claim(recipe: Recipe) -> str:
    if recipe.claims is None:
        return ""
    row = published_row(recipe.dataset, recipe.claims)
    return f"{percent(row.value, row.spread)} ({row.source})"


def modules() -> str:
    """List every module with the first line of its docstring, folder by folder."""
    head = (
        "# Modules\n\nWritten by `make docs` from the first lines of the docstrings; `make check` compares it.\n"
        "How they belong together: [architecture.md](architecture.md)."
    )
    folders: dict[Path, list[list[str]]] = {}
    for path in sorted((TOP / "transferbench").rglob("*.py")):
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        folders.setdefault(path.parent, []).append([f"`{path.name}`", about.partition("\n")[0].replace("|", "\\|")])
    parts = [head]
    for folder, rows in sorted(folders.items()):
        parts += [f"## {folder.relative_to(TOP)}/", markdown_table(("module", "what it knows"), rows)]
    return "\n\n".join(parts) + "\n"


DOCUMENTS = {"docs/cli-reference.md": cli_reference, "docs/modules.md": modules, "recipes/README.md": recipes_readme}


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
