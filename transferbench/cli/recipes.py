"""`tb recipes`."""

import click

from transferbench.cli.options import json_option
from transferbench.cli.terminal import print_json, print_table


@click.group()
def recipes() -> None:
    """List, show and check recipes."""


@recipes.command("list")
@json_option
def list_recipes(as_json: bool) -> None:
    """List the shipped recipes.

    \b
    Example:
      tb recipes list
    """
    from transferbench.recipe.files import shipped, summary
    from transferbench.recipe.pretrain import PretrainRecipe
    from transferbench.recipe.transfer import Recipe

    rows = [
        [name, kind, summary(path)]
        for kind, found in (("transfer", shipped(Recipe)), ("pretrain", shipped(PretrainRecipe)))
        for name, path in found.items()
    ]
    print_table(("recipe", "kind", "what"), rows, as_json=as_json)


@recipes.command("show")
@click.argument("name")
@json_option
def show_recipe(name: str, as_json: bool) -> None:
    """Print a recipe: the file as it is, or with --json all its values, defaults filled in.

    NAME is a shipped recipe or the path of a YAML file.

    \b
    Example:
      tb recipes show digits_stack
    """
    from transferbench.documents import read_document
    from transferbench.recipe.files import find_any, kind_of, to_dict

    path = find_any(name)
    if as_json:
        print_json(to_dict(read_document(path, kind_of(path))))
    else:
        click.echo(path.read_text(encoding="utf-8"), nl=False)


@recipes.command("check")
@click.argument("name", required=False)
@json_option
def check_recipes(name: str | None, as_json: bool) -> None:
    """Check recipes: keys, types, and the names they take from other documents.

    NAME is a YAML file, a folder of them, or a shipped recipe; without it all shipped recipes are checked. Exits with 1
    if one is wrong.

    \b
    Example:
      tb recipes check
      tb recipes check ./mine.yaml
    """
    from transferbench.pipeline.check import check_files

    found = check_files(name)
    rows = [[name, "ok" if problem is None else problem] for name, problem in found.items()]
    good = [row for row in rows if row[1] == "ok"]
    if as_json or good:
        print_table(("recipe", "verdict"), rows if as_json else good, as_json=as_json)
    problems = [problem for problem in found.values() if problem is not None]
    if problems:
        raise click.ClickException("\n".join(problems))
