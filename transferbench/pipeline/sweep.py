"""`tb sweep`: a recipe with some of its settings varied, every combination of them."""

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from transferbench.documents import sentences
from transferbench.errors import DocumentError
from transferbench.lookup import unknown
from transferbench.pipeline.weights import weights_choice
from transferbench.recipe.files import to_dict
from transferbench.recipe.transfer import Recipe
from transferbench.types.scales import Scales

Settings = tuple[tuple[str, str], ...]
"""Key and value of each setting, as the user wrote them."""


def combinations(recipe: Recipe, asked: Sequence[str]) -> dict[Settings, Recipe]:
    """Work out every combination of settings.

    Parameters
    ----------
    recipe : Recipe
        What stays as it is. Floors and the claimed row belong to it alone and are left out.
    asked : sequence of str
        ``KEY=VALUE,VALUE`` each; parts of one value are joined by ``+``.

    Returns
    -------
    dict of Settings to Recipe
        In the order of the settings, the last one fastest.

    Raises
    ------
    DocumentError
        If a key is unknown or given twice, or a combination is no valid recipe.

    Examples
    --------
    ``["aggregate=stack,max", "scales=256,384+512"]`` makes four recipes.
    """
    axes = dict(_axis(text) for text in asked)
    if len(axes) < len(asked):
        msg = "--set names a setting twice; give all its values at once: KEY=VALUE,VALUE"
        raise DocumentError(msg)
    base = to_dict(recipe) | {"floors": [], "claims": None}
    pairs = [[(key, value) for value in values] for key, values in axes.items()]
    return {settings: _applied(base, settings) for settings in itertools.product(*pairs)}


def swept_name(recipe_name: str, settings: Settings) -> str:
    """Name a combination.

    Parameters
    ----------
    recipe_name : str
        Of the recipe that is varied.
    settings : Settings
        What is varied.

    Returns
    -------
    str
        For instance ``caltech256_stack~aggregate=max~scales=384+512``; good as the name of a folder.
    """
    return "~".join([recipe_name, *(f"{key}={value}" for key, value in settings)]).replace("/", "_")


def _axis(text: str) -> tuple[str, tuple[str, ...]]:
    key, equals, values = text.partition("=")
    if key not in SETTINGS:
        raise DocumentError(unknown("setting", key, SETTINGS))
    found = tuple(dict.fromkeys(value.strip() for value in values.split(",")))
    if not equals or not all(found):
        msg = f"--set {text}: write KEY=VALUE,VALUE, for instance {key}={SETTINGS[key][1]}"
        raise DocumentError(msg)
    return key, found


def _applied(base: dict[str, Any], settings: Settings) -> Recipe:
    plain: dict[str, Any] = json.loads(json.dumps(base))
    for key, value in settings:
        SETTINGS[key][0](plain, value)
    try:
        return Recipe.model_validate_json(json.dumps(plain))
    except ValidationError as problem:
        told = "; ".join(sentences(problem, Recipe))
        msg = f"--set {' '.join('='.join(pair) for pair in settings)} makes no valid recipe: {told}"
        raise DocumentError(msg) from problem


def _aggregate(plain: dict[str, Any], value: str) -> None:
    plain["aggregate"]["kind"] = value


def _l2(plain: dict[str, Any], value: str) -> None:
    plain["aggregate"]["l2"] = value


def _scales(plain: dict[str, Any], value: str) -> None:
    try:
        plain["features"]["scales"] = list(Scales.parse(value.replace("+", ",")))
    except ValueError as problem:
        msg = f"--set scales={value}: {problem}"
        raise DocumentError(msg) from problem


def _nets(plain: dict[str, Any], value: str) -> None:
    here = {net["name"]: net for net in plain["features"]["nets"]}
    plain["features"]["nets"] = [
        here.get(name, {"name": name, "weights": {"kind": "default"}}) for name in value.split("+")
    ]


def _weights(plain: dict[str, Any], value: str) -> None:
    for net in plain["features"]["nets"]:
        net["weights"] = to_dict(weights_choice(value))


def _layer(plain: dict[str, Any], value: str) -> None:
    for net in plain["features"]["nets"]:
        net["layer"] = value


def _flip(plain: dict[str, Any], value: str) -> None:
    plain["features"]["flip"] = {"true": True, "false": False}.get(value, value)


def _regions(plain: dict[str, Any], value: str) -> None:
    plain["features"]["regions"] = value.split("+")


def _loss(plain: dict[str, Any], value: str) -> None:
    plain["svm"]["loss"] = value


SETTINGS: dict[str, tuple[Callable[[dict[str, Any], str], None], str]] = {
    "aggregate": (_aggregate, "stack,average,max"),
    "l2": (_l2, "block,global,both"),
    "scales": (_scales, "256,384+512,256..768"),
    "nets": (_nets, "D,E,D+E"),
    "weights": (_weights, "vgg16-caffe,vgg16-torchvision"),
    "layer": (_layer, "fc7,fc6"),
    "flip": (_flip, "true,false"),
    "regions": (_regions, "image,image+box"),
    "loss": (_loss, "squared_hinge,hinge"),
}
"""What can be varied: how, and an example of values."""
