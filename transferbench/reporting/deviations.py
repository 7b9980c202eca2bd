"""What was done otherwise than for a published number, found in a result's own record: one named rule each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from transferbench.reporting.result import Result, VariantScore
from transferbench.types.scores import MadeWith, PublishedRow

Effect = Literal["another quantity", "can move the number", "unknown"]
"""What a deviation does to the comparison: ours is a number of something else; ours may be higher or lower; nobody can
say, because the paper leaves it open."""

_SHOWN = 3
_DEFINITIONS = {"eleven_point": "11-point", "area": "area", "non_interpolated": "non-interpolated"}


@dataclass(frozen=True, slots=True)
class Deviation:
    """One thing that was done otherwise.

    Parameters
    ----------
    rule : str
        Key of `RULES`.
    effect : {"another quantity", "can move the number", "unknown"}
        What it does to the comparison.
    text : str
        For people, without a full stop.
    """

    rule: str
    effect: Effect
    text: str


Found = Iterator[tuple[Effect, str]]
Rule = Callable[[Result, PublishedRow], Found]


def deviations(result: Result, row: PublishedRow) -> tuple[Deviation, ...]:
    """Hold a result against what is known of how a published number was made.

    Parameters
    ----------
    result : Result
        With its recipe and provenance.
    row : PublishedRow
        The number that its recipe claims.

    Returns
    -------
    tuple of Deviation
        Those that make it another quantity first.
    """
    found = [Deviation(name, effect, text) for name, rule in RULES.items() for effect, text in rule(result, row)]
    order: tuple[Effect, ...] = ("another quantity", "can move the number", "unknown")
    return tuple(sorted(found, key=lambda deviation: order.index(deviation.effect)))


def own(result: Result) -> VariantScore:
    """Return the scores that a recipe claims a row with.

    Parameters
    ----------
    result : Result
        Of any recipe.

    Returns
    -------
    VariantScore
        The recipe's own features on all training images; floors and smaller training parts are others.
    """
    same = [one for one in result.scores if one.name == result.scores[0].name]
    return next((one for one in same if one.train_per_class is None), same[-1])


def edges(variant: VariantScore) -> str:
    """Say where the best C was the smallest or largest tried.

    Parameters
    ----------
    variant : VariantScore
        Scores over splits.

    Returns
    -------
    str
        Empty if it never was.
    """
    at_edge = [f"C={split.C:g} in split {split.name}" for split in variant.splits if split.C_at_edge]
    return (
        f"the best C is at the edge of the grid ({', '.join(at_edge)}); a wider grid might do better" if at_edge else ""
    )


def _trial(result: Result, _row: PublishedRow) -> Found:
    if result.limit is not None:
        yield "another quantity", f"a trial with up to {result.limit} images of every class in every part (--limit)"


def _test_part(_result: Result, row: PublishedRow) -> Found:
    if row.made_with is not None and row.made_with.test == "server":
        yield (
            "another quantity",
            "trained on train and tested on val; the published number is of the organisers' server, trained on train "
            "and val and tested on test (tb submit)",
        )


def _average_precision(result: Result, row: PublishedRow) -> Found:
    theirs = row.made_with.average_precision if row.made_with else None
    if theirs is None:
        return
    name = f"mean average precision ({_DEFINITIONS[theirs]})"
    if result.metric != name:
        yield "another quantity", f"the metric is {result.metric}; the published one is the {_DEFINITIONS[theirs]} one"
    elif row.made_with is not None and not row.made_with.average_precision_stated:
        splits = own(result).splits
        others = [
            f"{other} {100 * sum(dict(split.others)[other] for split in splits) / len(splits):.1f}"
            for other, _ in splits[0].others
        ]
        beside = f" (by the other definitions: {', '.join(others)})" if others else ""
        yield (
            "unknown",
            f"the paper does not say which average precision it reports; ours is the {_DEFINITIONS[theirs]} one, as "
            f"the dataset's own kit computes it{beside}",
        )


def _nets(result: Result, row: PublishedRow) -> Found:
    if row.made_with is None:
        return
    nets = result.recipe["features"]["nets"]
    names = [net["name"] for net in nets]
    if names != list(row.made_with.nets):
        yield "another quantity", f"made with net {' & '.join(names)}; the published one with {_nets_of(row.made_with)}"
    for net in nets:
        if (net.get("width", 1.0), net.get("crop", 224)) != (1.0, 224):
            yield (
                "can move the number",
                f"net {net['name']} at width {net['width']:g} and crop {net['crop']}, not the paper's 1 and 224",
            )
        if net.get("layer") not in {None, "fc7"}:
            yield "can move the number", f"layer {net['layer']} of net {net['name']}; the paper takes fc7"


def _weights(result: Result, row: PublishedRow) -> Found:
    if row.made_with is None:
        return
    for weights in result.weights:
        origin, net = weights["origin"], f"net {weights['net']['name']}"
        if origin.get("original") is True:
            continue
        yield "can move the number", f"{net}: {_whose(origin, str(weights.get('label', '')))}"


def _preprocessing(result: Result, row: PublishedRow) -> Found:
    if row.made_with is None:
        return
    specs = {block.spec["net"]["name"]: block.spec for block in result.blocks if block.spec.get("weights_sha256")}
    for name in row.made_with.nets:
        spec: dict[str, Any] = specs.get(name, {})
        if spec.get("net", {}).get("pool_rounding", "ceil") != "ceil":
            yield "can move the number", f"net {name}: pooling rounds odd sides down, as its weights want; Caffe's up"
        interpolation = spec.get("preprocessing", {}).get("interpolation", "bicubic")
        if interpolation != "bicubic":
            yield "unknown", f"net {name}: images are rescaled {interpolation}ly; the paper does not say how"


def _scales(result: Result, row: PublishedRow) -> Found:
    theirs, ours = row.made_with.scales if row.made_with else (), tuple(result.recipe["features"]["scales"])
    if theirs and ours != theirs:
        yield "can move the number", f"scales {_list(ours)} px; the published ones are {_list(theirs)}"
    elif row.made_with is not None and not theirs:
        yield "unknown", f"scales {_list(ours)} px; the paper does not say which it used here"


def _aggregation(result: Result, row: PublishedRow) -> Found:
    theirs, ours = row.made_with.aggregate if row.made_with else None, result.recipe["aggregate"]["kind"]
    if theirs is not None and ours != theirs:
        yield "can move the number", f"scales are aggregated by {ours}; the published ones by {theirs}"


def _normalisation(result: Result, row: PublishedRow) -> Found:
    if row.made_with is not None and result.recipe["aggregate"]["l2"] == "none":
        yield "can move the number", "features keep their length; the paper gives them unit length (L2)"


def _mirror(result: Result, row: PublishedRow) -> Found:
    if row.made_with is not None and not result.recipe["features"]["flip"]:
        yield "can move the number", "without the mirrored image, whose descriptor the paper averages in"


def _regions(result: Result, row: PublishedRow) -> Found:
    if row.made_with is None:
        return
    ours = tuple(result.recipe["features"].get("regions", ("image",)))
    if ours != row.made_with.regions:
        theirs = " and ".join(row.made_with.regions)
        yield "another quantity", f"features of {' and '.join(ours)}; the published ones of {theirs}"


def _splits(result: Result, row: PublishedRow) -> Found:
    if row.made_with is None or row.made_with.splits is None:
        return
    ours = len(own(result).splits)
    if ours != row.made_with.splits:
        yield "can move the number", f"{ours} split{'s' * (ours > 1)}; the published mean is of {row.made_with.splits}"
    yield "unknown", "the paper's random splits were not published; ours are others by the same rule"


def _training_images(result: Result, row: PublishedRow) -> Found:
    ours, theirs = own(result).train_per_class, row.made_with.train_per_class if row.made_with else None
    if ours is not None and ours != theirs:
        published = "all training images" if theirs is None else theirs
        yield "another quantity", f"trained on {ours} of every class (low_shot); the published number on {published}"


def _edge_of_C(result: Result, _row: PublishedRow) -> Found:
    if text := edges(own(result)):
        yield "can move the number", text


def _skipped(result: Result, _row: PublishedRow) -> Found:
    skipped = [one.id for one in result.skipped]
    if skipped:
        more = f" and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
        several = len(skipped) > 1
        images = f"{len(skipped)} image{'s' * several} could not be decoded and {'were' if several else 'was'}"
        yield (
            "can move the number",
            f"{images} left out ({', '.join(skipped[:_SHOWN])}{more})",
        )


def _precision(result: Result, _row: PublishedRow) -> Found:
    engines = sorted({block.engine for block in result.blocks if block.engine})
    odd = [engine for engine in engines if not engine.endswith("float32")]
    if odd:
        yield "can move the number", f"descriptors were computed in reduced precision ({', '.join(odd)})"


def _code(result: Result, _row: PublishedRow) -> Found:
    if (result.git_commit or "").endswith("-dirty"):
        yield "unknown", "the program had changes that are in no commit"


RULES: dict[str, Rule] = {
    "trial": _trial,
    "test part": _test_part,
    "average precision": _average_precision,
    "nets": _nets,
    "regions": _regions,
    "weights": _weights,
    "preprocessing": _preprocessing,
    "scales": _scales,
    "aggregation": _aggregation,
    "normalisation": _normalisation,
    "mirrored image": _mirror,
    "splits": _splits,
    "training images": _training_images,
    "edge of C": _edge_of_C,
    "skipped images": _skipped,
    "precision": _precision,
    "code": _code,
}
"""Every rule by its name; docs/metrics.md lists them."""


def _whose(origin: dict[str, Any], label: str) -> str:
    match origin.get("kind"):
        case "run":
            few = origin.get("limit")
            trial = "" if few is None else f", a TRIAL with up to {few} images of every class"
            return f"weights of an own pretraining{trial}, not the authors'"
        case "random":
            return "random weights, not the authors'"
        case _ if origin.get("original") is False:
            return f"weights {label or 'trained by others'}"
        case _:
            return f"weights that are not known to be the authors'{f' ({label})' if label else ''}"


def _nets_of(made_with: MadeWith) -> str:
    return " & ".join(made_with.nets)


def _list(sides: tuple[int, ...]) -> str:
    return ", ".join(map(str, sides))
