"""Recipes as files: shipped ones and the user's, found by name or path, read and told apart."""

from pathlib import Path
from typing import Any, TypeVar

from transferbench import builtin
from transferbench.documents import Document, read_document, top_level_keys
from transferbench.errors import DocumentError, UnknownNameError
from transferbench.lookup import unknown
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.recipe.transfer import Recipe

R = TypeVar("R", Recipe, PretrainRecipe)

_KINDS: dict[type[Document], tuple[str, str]] = {
    Recipe: ("recipe", "*.yaml"),
    PretrainRecipe: ("pretraining recipe", "pretrain/*.yaml"),
}


def shipped(kind: type[R]) -> dict[str, Path]:
    """List the recipes that come with the package.

    Parameters
    ----------
    kind : type
        `Recipe` or `PretrainRecipe`.

    Returns
    -------
    dict of str to Path
        Name to file, sorted by name.
    """
    return {path.stem: path for path in sorted(builtin.folder("recipes").glob(_KINDS[kind][1]))}


def find(name: str, kind: type[R]) -> Path:
    """Find a recipe by the name of a shipped one, or by its path.

    Parameters
    ----------
    name : str
        A shipped name, or a path (anything with a slash or ending in ``.yaml``).
    kind : type
        `Recipe` or `PretrainRecipe`.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    DocumentError
        If the path does not exist.
    UnknownNameError
        If no shipped recipe has that name.
    """
    if _is_path(name):
        path = Path(name).expanduser()
        if not path.is_file():
            what = "is a folder; name a YAML file in it" if path.is_dir() else "there is no such file"
            msg = f"{path}: {what}; shipped recipes are listed by `tb recipes list`"
            raise DocumentError(msg)
        return path
    known = shipped(kind)
    if name not in known:
        raise UnknownNameError(unknown(_KINDS[kind][0], name, known, listed_by="tb recipes list"))
    return known[name]


def find_any(name: str) -> Path:
    """Find a recipe of either kind.

    Parameters
    ----------
    name : str
        As for `find`.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    DocumentError
        If the path does not exist.
    UnknownNameError
        If no shipped recipe of either kind has that name.
    """
    known = shipped(PretrainRecipe) | shipped(Recipe)
    if name in known:
        return known[name]
    if _is_path(name):
        return find(name, Recipe)
    raise UnknownNameError(unknown("recipe", name, known, listed_by="tb recipes list"))


def load(name: str, kind: type[R]) -> R:
    """Read and check a recipe.

    Parameters
    ----------
    name : str
        As for `find`.
    kind : type
        `Recipe` or `PretrainRecipe`.

    Returns
    -------
    Recipe or PretrainRecipe
        Complete: every default is filled in.

    Raises
    ------
    DocumentError
        With every mistake in the file.
    """
    return read_document(find(name, kind), kind)


def kind_of(path: Path) -> type[Recipe] | type[PretrainRecipe]:
    """Tell which kind of recipe a file holds, from its keys.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    type
        `PretrainRecipe` if it has keys of one and none of the keys that only a transfer recipe has.
    """
    keys = top_level_keys(path)
    ours, theirs = set(Recipe.model_fields), set(PretrainRecipe.model_fields)
    return PretrainRecipe if keys & (theirs - ours) and not keys & (ours - theirs) else Recipe


def summary(path: Path) -> str:
    """Return the first comment line of a recipe: what it is.

    Parameters
    ----------
    path : Path
        The recipe's file.

    Returns
    -------
    str
        Without the leading ``#``.
    """
    with path.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()


def to_dict(recipe: Document) -> dict[str, Any]:
    """Return a recipe as plain JSON values, defaults filled in.

    Parameters
    ----------
    recipe : Document
        Any typed document.

    Returns
    -------
    dict
        What is written into results.
    """
    return recipe.model_dump(mode="json")


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name
