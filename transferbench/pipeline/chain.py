"""Which pretrainings one command means: a recipe with all that it starts from, and what the command line changes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from transferbench.data.own import own_name
from transferbench.data.record import is_own
from transferbench.errors import DocumentError
from transferbench.recipe.files import load, shipped
from transferbench.recipe.pretrain import PretrainRecipe

PAPER = "paper"
"""``--recipe paper``: the last pretraining of the net's series in the paper, with all before it."""

_PREFIX = "ilsvrc2012"
_SERIES = ("", "_384", "_jitter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What the command line says instead of the recipe; None leaves the recipe's own value.

    Parameters
    ----------
    dataset : str, optional
        Trained on, by every pretraining of the chain.
    width : float, optional
        Of every net of the chain.
    crop : int, optional
        Of every net; short sides shrink with it, so that a crop shows the same part of an image.
    epochs, batch_size, seed : int, optional
        Of every pretraining.
    learning_rate : float, optional
        Of the last pretraining of the chain only: the others start from elsewhere.
    schedule : {"cosine"}, optional
        Of every pretraining.
    label_smoothing, ema : float, optional
        Of every pretraining; see `Modern`.
    """

    dataset: str | None = None
    width: float | None = None
    crop: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    seed: int | None = None
    learning_rate: float | None = None
    schedule: Literal["cosine"] | None = None
    label_smoothing: float | None = None
    ema: float | None = None


NONE = Changes()


@dataclass(frozen=True, slots=True)
class Link:
    """One pretraining of a chain.

    Parameters
    ----------
    name : str
        By which its run is called.
    recipe : PretrainRecipe
        Complete.
    """

    name: str
    recipe: PretrainRecipe


def chain_of(name: str, recipe: PretrainRecipe, changes: Changes = NONE) -> tuple[Link, ...]:
    """List a pretraining and all that it starts from.

    Parameters
    ----------
    name : str
        Of the recipe.
    recipe : PretrainRecipe
        The last of the chain.
    changes : Changes
        Applied to all.

    Returns
    -------
    tuple of Link
        In the order in which they have to be done.

    Raises
    ------
    DocumentError
        If a recipe starts from itself, or a change does not fit one.
    """
    links = [Link(_name(name, changes), changed(name, recipe, changes, last=True))]
    seen = [name]
    while recipe.start is not None:
        before = recipe.start.recipe
        if before in seen:
            msg = f"these pretrainings start from each other: {' <- '.join([*seen, before])}"
            raise DocumentError(msg)
        seen.append(before)
        recipe = load(before, PretrainRecipe)
        stem = Path(before).stem
        links.append(Link(_name(stem, changes), changed(stem, recipe, changes, last=False)))
    return tuple(reversed(links))


def recipe_for(name: str | None, *, net: str | None, scale: str | None = None) -> tuple[str, PretrainRecipe]:
    """Find the recipe that ``tb pretrain`` means.

    Parameters
    ----------
    name : str or None
        A shipped pretraining recipe, a path, or ``paper``; the recipe of `net` on ILSVRC-2012 when None.
    net : str or None
        A net of Table 1; replaces the net of a recipe that is named.
    scale : str or None
        S of the paper's recipe: ``256``, ``384`` or ``256..512``.

    Returns
    -------
    tuple of str and PretrainRecipe
        The name, by which the run is called, and the content.

    Raises
    ------
    DocumentError
        If it is not clear which one is meant.
    UnknownNameError
        If there is no such recipe.
    """
    if name in {None, PAPER}:
        if net is None:
            msg = (
                "which pretraining? Give --recipe NAME (`tb recipes list`), or --net E for the paper's net E on "
                "ILSVRC-2012"
            )
            raise DocumentError(msg)
        name = _of_the_paper(net, scale, last=name == PAPER)
        return name, load(name, PretrainRecipe)
    if scale is not None:
        msg = "--scale chooses among the paper's recipes of a net: give it with --net and without --recipe NAME"
        raise DocumentError(msg)
    recipe = load(str(name), PretrainRecipe)
    if net is not None:
        recipe = _valid(str(name), recipe, {"net": {**recipe.net.model_dump(), "name": net}})
    return Path(str(name)).stem, recipe


def changed(name: str, recipe: PretrainRecipe, changes: Changes, *, last: bool) -> PretrainRecipe:
    """Apply what the command line says to a recipe.

    Parameters
    ----------
    name : str
        Of the recipe, for messages.
    recipe : PretrainRecipe
        As it is written.
    changes : Changes
        What to replace.
    last : bool
        Whether it is the one that was asked for, not one that it starts from.

    Returns
    -------
    PretrainRecipe
        Checked as a whole.

    Raises
    ------
    DocumentError
        If the replaced values do not make a valid recipe.
    """
    values = {key: getattr(changes, key) for key in ("dataset", "epochs", "batch_size", "seed")}
    if last:
        values["learning_rate"] = changes.learning_rate
    new: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    sizes = {key: value for key in ("width", "crop") if (value := getattr(changes, key)) is not None}
    if sizes:
        new["net"] = {**recipe.net.model_dump(), **sizes}
    if changes.crop is not None:
        smallest, largest = (max(changes.crop, round(s * changes.crop / recipe.net.crop)) for s in recipe.short_sides)
        new["short_side"] = smallest if smallest == largest else {"smallest": smallest, "largest": largest}
    if changes.schedule is not None:
        new["schedule"] = {"kind": changes.schedule}
    modern = {key: value for key in ("label_smoothing", "ema") if (value := getattr(changes, key)) is not None}
    if modern:
        new["modern"] = {**recipe.modern.model_dump(), **modern}
    return _valid(name, recipe, new)


def _valid(name: str, recipe: PretrainRecipe, new: dict[str, Any]) -> PretrainRecipe:
    try:
        return PretrainRecipe.model_validate({**recipe.model_dump(), **new})
    except ValidationError as invalid:
        msg = f"{name} with these options: {'; '.join(str(error['msg']) for error in invalid.errors())}"
        raise DocumentError(msg) from invalid


def _of_the_paper(net: str, scale: str | None, *, last: bool) -> str:
    first = f"{_PREFIX}_{net.lower().replace('-', '_')}"
    known = shipped(PretrainRecipe)
    series = [first + suffix for suffix in _SERIES if first + suffix in known]
    if scale is None or not series:
        return series[-1] if last and series else first  # an unknown net is refused where the recipe is looked up
    by_scale = {_scale(load(name, PretrainRecipe)): name for name in series}
    if scale not in by_scale:
        msg = f"the paper does not train net {net} at scale {scale}; it has {', '.join(by_scale)}"
        raise DocumentError(msg)
    return by_scale[scale]


def _scale(recipe: PretrainRecipe) -> str:
    smallest, largest = recipe.short_sides
    return str(smallest) if smallest == largest else f"{smallest}..{largest}"


def _name(name: str, changes: Changes) -> str:
    """Call a run by its own data, not by those of the recipe it follows."""
    if changes.dataset is None:
        return name
    label = own_name(changes.dataset) if is_own(changes.dataset) else changes.dataset
    return name.replace(_PREFIX, label, 1) if name.startswith(_PREFIX) else f"{name}-{label}"
