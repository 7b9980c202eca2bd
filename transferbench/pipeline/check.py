"""`tb recipes check`: what a recipe says about other documents must hold too."""

from itertools import pairwise
from pathlib import Path

from transferbench import builtin
from transferbench.data.published import load_published
from transferbench.data.record import load_record, record_names
from transferbench.documents import read_document
from transferbench.errors import DocumentError, UnknownNameError
from transferbench.lookup import unknown
from transferbench.pipeline.chain import chain_of
from transferbench.recipe.files import find_any, kind_of, load, shipped
from transferbench.recipe.nets import RunWeights
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.recipe.transfer import Recipe


def check_files(name: str | None) -> dict[str, str | None]:
    """Check recipe files of both kinds.

    Parameters
    ----------
    name : str or None
        A shipped name, a file, a folder (searched through), or None for all shipped recipes.

    Returns
    -------
    dict of str to str or None
        File to its problems; None where there are none.

    Raises
    ------
    DocumentError
        If there is no such file, or a folder holds no YAML file.
    UnknownNameError
        If no shipped recipe has that name.
    """
    if name is None:
        folder = builtin.folder("recipes")
        return {str(file.relative_to(folder)): _problem(file) for file in sorted(folder.rglob("*.yaml"))}
    path = Path(name).expanduser()
    if not path.is_dir():
        return {name: _problem(path if path.is_file() else find_any(name))}
    files = sorted(path.rglob("*.yaml"))
    if not files:
        msg = f"{path}: there is no YAML file in this folder"
        raise DocumentError(msg)
    return {str(file): _problem(file) for file in files}


def _problem(file: Path) -> str | None:
    try:
        recipe = read_document(file, kind_of(file))
        if isinstance(recipe, Recipe):
            check(recipe)
        else:
            check_start(recipe)
    except (DocumentError, UnknownNameError) as error:
        text = str(error)
        return text if text.startswith(str(file)) else f"{file}: {text}"
    return None


def check_start(recipe: PretrainRecipe) -> None:
    """Check that a pretraining can begin with the weights of the one it names, and that one with its own, and so on.

    Parameters
    ----------
    recipe : PretrainRecipe
        Already valid in itself.

    Raises
    ------
    DocumentError
        If one is not there, starts from itself, or trains a net that does not fit.
    """
    links = chain_of("the recipe", recipe)
    for before, link in pairwise(links):
        theirs, ours, start = before.recipe.net, link.recipe.net, link.recipe.start
        sizes_fit = (theirs.width, theirs.crop) == (ours.width, ours.crop)
        if start is None or not sizes_fit or (start.layers == "all" and theirs.name != ours.name):
            msg = f"start: {link.name} trains {ours.spec(2)}, but {before.name} trains {theirs.spec(2)}"
            raise DocumentError(msg)


def check(recipe: Recipe) -> None:
    """Check the names that a recipe takes from other documents.

    Parameters
    ----------
    recipe : Recipe
        Already valid in itself.

    Raises
    ------
    DocumentError
        With every name that leads nowhere, and every net that is not the one its pretraining makes.
    """
    problems = []
    for number, net in enumerate(recipe.features.nets):
        if isinstance(net.weights, RunWeights) and (name := net.weights.trained_by) is not None:
            place = f"features.nets[{number}]"
            if "/" not in name and name not in (known := shipped(PretrainRecipe)):
                problems.append(f"{place}.weights.recipe: {unknown('pretraining recipe', name, known)}")
                continue
            trained = load(name, PretrainRecipe).net
            if (trained.name, trained.width, trained.crop) != (net.name, net.width, net.crop):
                problems.append(f"{place}: {net.spec(2)} is asked for, but {name} trains {trained.spec(2)}")
    if "box" in recipe.features.regions and (
        recipe.dataset not in record_names() or load_record(recipe.dataset).task != "multi_label_per_box"
    ):
        problems.append(f"features.regions: {recipe.dataset} has no boxes of people; leave it at [image]")
    published = load_published(recipe.dataset)
    if recipe.claims is not None and recipe.claims not in published:
        problems.append(f"claims: {unknown(f'published row of {recipe.dataset}', recipe.claims, published)}")
    if problems:
        raise DocumentError(
            "\n".join(
                [
                    f"the recipe does not fit other documents: {len(problems)} problem(s)",
                    *(f"  {line}" for line in problems),
                ]
            )
        )
