"""`--floor`: what a result is worth, measured beside it on request."""

from transferbench.errors import DocumentError
from transferbench.lookup import unknown
from transferbench.recipe.transfer import Floor, RandomWeightsFloor, RawPixelsFloor, Recipe, ShuffledLabelsFloor

_PIXELS_SIDE = 8
FLOORS: dict[str, Floor] = {
    "random_weights": RandomWeightsFloor(kind="random_weights", seed=0),
    "shuffled_labels": ShuffledLabelsFloor(kind="shuffled_labels", seed=0),
    "raw_pixels": RawPixelsFloor(kind="raw_pixels", side=_PIXELS_SIDE),
}
"""As the command line asks for them; a recipe may choose other seeds and sides."""


def with_floors(recipe: Recipe, asked: str | None) -> Recipe:
    """Add floors to a recipe.

    Parameters
    ----------
    recipe : Recipe
        Keeps the floors that it has.
    asked : str or None
        Kinds with commas between them.

    Returns
    -------
    Recipe
        With a floor of every kind asked for.

    Raises
    ------
    DocumentError
        If there is no such kind.
    """
    kinds = [] if asked is None else [kind.strip() for kind in asked.split(",")]
    for kind in kinds:
        if kind not in FLOORS:
            raise DocumentError(unknown("floor", kind, FLOORS))
    here = {floor.kind for floor in recipe.floors}
    added = tuple(FLOORS[kind] for kind in dict.fromkeys(kinds) if kind not in here)
    return recipe.model_copy(update={"floors": (*recipe.floors, *added)}) if added else recipe
