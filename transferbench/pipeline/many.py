"""Several experiments in one command, from descriptors that are there: `tb evaluate` of several recipes, `tb sweep`."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transferbench.data import Dataset
from transferbench.errors import UnknownNameError, WeightsError
from transferbench.evaluation.svm.apart import Apart
from transferbench.evaluation.svm.gram_store import GramStore
from transferbench.evaluation.svm.solvers import Solver, make_solver
from transferbench.home import Home
from transferbench.lookup import unknown
from transferbench.pipeline.check import check
from transferbench.pipeline.datasets import DataOptions, target
from transferbench.pipeline.engines import AUTO, EngineOptions
from transferbench.pipeline.evaluate import evaluate_recipe, missing_blocks
from transferbench.pipeline.experiment import refuse_empty_classes
from transferbench.pipeline.extract import extract_recipe
from transferbench.pipeline.plan import PRETRAINED, Variant, variants
from transferbench.pipeline.shards import OnBadImage
from transferbench.pipeline.stage import Stage
from transferbench.progress import Progress
from transferbench.recipe.files import load as load_recipe
from transferbench.recipe.files import shipped
from transferbench.recipe.nets import NetChoice
from transferbench.recipe.transfer import Recipe, SolverName


@dataclass(frozen=True, slots=True)
class Extraction:
    """How missing descriptors are extracted.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    on_bad_image : {"stop", "skip"}
        What becomes of an image that cannot be decoded.
    engine : EngineOptions
        What runs the nets, and how precisely.
    """

    device: str
    on_bad_image: OnBadImage
    engine: EngineOptions = AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How several experiments are evaluated, wherever that is.

    Parameters
    ----------
    data_dir : Path, optional
        Where the images are, if not in the work folder.
    limit : int, optional
        How many are wanted; see `DataOptions`.
    solver : {"auto", "gram", "rows", "liblinear"}
        How the SVMs are fitted.
    floors : str, optional
        What ``--floor`` said; for the commands that make what is missing.
    again : str, optional
        Where experiments are variations that `tb extract` could not read: the command that extracts as well as
        evaluates. A result of the same inputs under another name then does as well.
    strict : bool
        Whether to stop where something is missing.
    """

    data_dir: Path | None = None
    limit: int | None = None
    solver: SolverName = "auto"
    floors: str | None = None
    again: str | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one of several experiments.

    Parameters
    ----------
    name : str
        Of the recipe, or of the combination.
    folder : Path or None
        Of its result; None if something is missing.
    missing : tuple of str
        Commands that make what is missing.
    """

    name: str
    folder: Path | None
    missing: tuple[str, ...]


def recipes_on(dataset: str) -> list[str]:
    """List the shipped recipes of a dataset.

    Parameters
    ----------
    dataset : str
        Its name.

    Returns
    -------
    list of str
        Sorted names; at least one.

    Raises
    ------
    UnknownNameError
        If there is no such dataset, or no recipe of it.
    """
    by_name = {name: load_recipe(name, Recipe).dataset for name in shipped(Recipe)}
    found = [name for name, on in by_name.items() if on == dataset]
    if not found:
        raise UnknownNameError(unknown("dataset with shipped recipes", dataset, set(by_name.values())))
    return found


def evaluate_many(
    experiments: Mapping[str, Recipe],
    home: Home,
    *,
    progress: Progress,
    way: Way,
    extraction: Extraction | None = None,
    elsewhere: Callable[[str], Stage] | None = None,
) -> list[Outcome]:
    """Evaluate several recipes; one that lacks weights or descriptors does not stop the others.

    Parameters
    ----------
    experiments : mapping of str to Recipe
        By name, as the user wrote it.
    home : Home
        The work folder.
    progress : Progress
        Told what happens.
    way : Way
        How.
    extraction : Extraction, optional
        How to extract missing descriptors; they are only named when this is not given.
    elsewhere : callable, optional
        Where splits are fitted on other machines: waits until those of a recipe are kept in the work folder.

    Returns
    -------
    list of Outcome
        In the same order.
    """
    opened: dict[str, Dataset] = {}
    solvers: dict[str, Solver] = {}
    outcomes = []
    data = DataOptions(way.data_dir, way.limit, progress)
    options = ("" if way.floors is None else f" --floor {way.floors}") + _place(data)
    for recipe in experiments.values():
        check(recipe)
    for name, recipe in experiments.items():
        dataset = opened.get(recipe.dataset) or target(recipe.dataset, home, data)
        opened[recipe.dataset] = dataset
        solver = make_solver(way.solver, recipe.svm.loss, GramStore(home.grams))
        shared = solvers.setdefault(recipe.svm.loss, solver if elsewhere is None else Apart(solver))
        try:
            layout = variants(recipe, dataset, home)
        except WeightsError as problem:
            if way.strict:
                raise
            outcomes.append(Outcome(name=name, folder=None, missing=(str(problem),)))
            continue
        before: list[Stage] = []
        whole = f"tb extract --recipe {shlex.quote(name)}{options}"
        if extraction is not None:
            refuse_empty_classes(recipe, dataset)
            before = [
                extract_recipe(
                    recipe,
                    dataset,
                    home,
                    device=extraction.device,
                    progress=progress,
                    engine=extraction.engine,
                    on_bad_image=extraction.on_bad_image,
                )
            ]
        elif not way.strict and (missing := _commands(way.again or whole, recipe, layout, data)):
            outcomes.append(Outcome(name=name, folder=None, missing=missing))
            continue
        if elsewhere is not None:
            before = [elsewhere(name)]
        folder, _ = evaluate_recipe(
            name,
            recipe,
            dataset,
            home,
            progress=progress,
            before=before,
            solver=shared,
            reuse_any=way.again is not None,
            options=options,
        )
        outcomes.append(Outcome(name=name, folder=folder, missing=()))
    return outcomes


def _commands(whole: str, recipe: Recipe, layout: Sequence[Variant], data: DataOptions) -> tuple[str, ...]:
    """Name the commands that extract what is missing, one for every net and region; `whole` does all at once."""
    # Floors and shrunk nets cannot be told in options.
    shrunk = any((net.width, net.crop) != (1.0, 224) and net.weights.kind == "random" for net in recipe.features.nets)
    if missing_blocks([v for v in layout if shrunk or (v.name != PRETRAINED and v.shuffle_seed is None)]):
        return (whole,)
    (own,) = (variant for variant in layout if variant.name == PRETRAINED)
    commands = []
    regions = recipe.features.regions
    choices = [(net, region) for region in regions for net in recipe.features.nets]
    for part, (net, region) in zip(own.parts, choices, strict=True):
        scales = [block.spec.short_side_px for block in part.blocks if not block.is_complete()]
        if scales:
            commands.append(_command(recipe, net, region, scales) + _place(data))
    return tuple(commands)


def _command(recipe: Recipe, net: NetChoice, region: str, scales: Sequence[int]) -> str:
    words = ["tb extract", f"--dataset {shlex.quote(recipe.dataset)}", f"--net {net.name}"]
    words.append(f"--weights {shlex.quote(_weights_option(net))}")
    words.append(f"--scales {','.join(map(str, scales))}")
    words += [] if net.layer is None else [f"--layer {net.layer}"]
    words += [] if region == "image" else [f"--region {region}"]
    return " ".join(words + ([] if recipe.features.flip else ["--no-flip"]))


def _weights_option(net: NetChoice) -> str:
    weights = net.weights
    match weights.kind:
        case "run":
            return f"run:{weights.recipe}"
        case "named":
            return weights.name
        case "file":
            return weights.path
        case "random":
            return f"random:{weights.seed}"
        case "default":
            return "default"


def _place(data: DataOptions) -> str:
    where = "" if data.data_dir is None else f" --data-dir {shlex.quote(str(data.data_dir))}"
    return where + ("" if data.limit is None else f" --limit {data.limit}")
