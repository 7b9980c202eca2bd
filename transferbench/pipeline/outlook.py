"""`tb plan`: what a command has before it, without doing any of it but a short probe."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from transferbench.cache.store import stored_blocks
from transferbench.data import Dataset
from transferbench.evaluation.aggregate import AGGREGATORS
from transferbench.evaluation.svm import costs
from transferbench.evaluation.svm.choice import choose as choose_way
from transferbench.evaluation.svm.choice import memory_of_machine
from transferbench.home import Home
from transferbench.nets.costs import descriptor_dimensions
from transferbench.pipeline.awaited import AwaitedWeights, choose_or_await, random_or_await
from transferbench.pipeline.check import check
from transferbench.pipeline.datasets import WHOLE, DataOptions, target
from transferbench.pipeline.engines import AUTO, EngineOptions
from transferbench.pipeline.forecast import BlockForecast, forecast, free_disk, outlines
from transferbench.pipeline.inputs import Round, rounds_of
from transferbench.pipeline.plan import Part, Variant, all_parts, variants
from transferbench.pipeline.probe import Probe, probe
from transferbench.pipeline.runs import Run
from transferbench.recipe.files import load
from transferbench.recipe.names import TABLE_1
from transferbench.recipe.nets import RunWeights
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.recipe.transfer import Recipe

_SIDE = 1536


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """Whether and on what time is measured.

    Parameters
    ----------
    wanted : bool
        Without it no net is run and no time is told.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    engine : EngineOptions
        As extraction would be told.
    """

    wanted: bool = True
    device: str = "auto"
    engine: EngineOptions = AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionOutlook:
    """All about the extraction of some nets.

    Parameters
    ----------
    dataset : str
        Its name.
    pictures : tuple of str
        For each region a sentence on number and size.
    blocks : tuple of BlockForecast
        Net by net, by ascending scale.
    missing_weights : tuple of str
        What is not there, with the commands that would get it.
    probes : tuple of str
        Engine, pictures and time of each probe; empty without one.
    seconds : float or None
        Of what is to be done; None where some of it is not known.
    memory_bytes : int or None
        The most that one net needs; None without a probe.
    disk_bytes : int
        Of the rows to do.
    free_bytes : int
        On the cache's disk.
    """

    dataset: str
    pictures: tuple[str, ...]
    blocks: tuple[BlockForecast, ...]
    missing_weights: tuple[str, ...]
    probes: tuple[str, ...]
    seconds: float | None
    memory_bytes: int | None
    disk_bytes: int
    free_bytes: int

    @property
    def fits(self) -> bool:
        """Whether the disk has room for it."""
        return self.disk_bytes <= self.free_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SvmOutlook:
    """The SVMs of one variant.

    Parameters
    ----------
    variant : str
        ``pretrained`` or a floor.
    images : int
        Training images of a split; the most of them where a recipe asks for few of every class (`low_shot`).
    dimensions : int or None
        Of the features; None where a net's are not known before.
    classes, splits, rounds, tried : int
        How many classes, splits, numbers of training images to do them with, and values of C.
    fits : int
        Binary SVMs: classes x splits x (values of C + the one on all training images), for every round.
    solver : str
        ``gram`` or ``rows``, as ``--solver auto`` would choose; empty if not known.
    reason : str
        Why.
    memory_bytes : int or None
        The most that evaluating takes, Python included; None where the length of a row is not known.
    seconds : float or None
        Roughly, by this machine's rate of matrix products and with no Gram matrix kept from before; None without a
        probe.
    where : dict of str to float, or None
        The same by step: ``gram``, ``choosing`` (C), ``training``, ``testing``.
    """

    variant: str
    images: int
    dimensions: int | None
    classes: int
    splits: int
    rounds: int
    tried: int
    fits: int
    solver: str
    reason: str
    memory_bytes: int | None
    seconds: float | None
    where: dict[str, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeOutlook:
    """The whole chain of a recipe.

    Parameters
    ----------
    recipe : str
        As it was named.
    pretraining : tuple of str
        For each run that the recipe needs: whether it is there, or the command that makes it.
    extraction : ExtractionOutlook
        Floors included.
    svms : tuple of SvmOutlook
        Variant by variant.
    """

    recipe: str
    pretraining: tuple[str, ...]
    extraction: ExtractionOutlook
    svms: tuple[SvmOutlook, ...]


def recipe_outlook(name: str, home: Home, data: DataOptions = WHOLE, how: ProbeOptions | None = None) -> RecipeOutlook:
    """Look ahead along a recipe.

    Parameters
    ----------
    name : str
        A shipped recipe or a path.
    home : Home
        The work folder; only hashes of image files are written to it.
    data : DataOptions
        Where the images are, and how many are wanted.
    how : ProbeOptions, optional
        Whether and on what time is measured.

    Returns
    -------
    RecipeOutlook
        Nothing was computed but the probe.

    Raises
    ------
    DatasetError
        If the dataset is not there.
    DocumentError
        If the recipe is wrong.
    """
    recipe = load(name, Recipe)
    check(recipe)
    how = how or ProbeOptions()
    dataset = target(recipe.dataset, home, data)
    layout = variants(recipe, dataset, home, find=choose_or_await, drawn=random_or_await)
    rate = products_per_second() if how.wanted else None
    return RecipeOutlook(
        recipe=name,
        pretraining=tuple(_pretraining(recipe, home)),
        extraction=extraction_outlook(all_parts(layout), dataset, home, how),
        svms=tuple(_svm(variant, recipe, dataset, rate) for variant in layout),
    )


def extraction_outlook(
    parts: Sequence[Part], dataset: Dataset, home: Home, how: ProbeOptions | None = None
) -> ExtractionOutlook:
    """Look ahead along an extraction.

    Parameters
    ----------
    parts : sequence of Part
        Nets, each with its blocks.
    dataset : Dataset
        Whose images.
    home : Home
        The work folder.
    how : ProbeOptions, optional
        Whether and on what time is measured.

    Returns
    -------
    ExtractionOutlook
        Nothing was computed but the probe.

    Raises
    ------
    CacheError
        If a manifest is damaged.
    DatasetError
        If a file cannot be read.
    DeviceError
        If the device or the engine is not there.
    """
    how = how or ProbeOptions()
    found, stored = outlines(parts, dataset), stored_blocks(home.features)
    probes: dict[tuple[object, ...], Probe | None] = {}
    blocks: list[BlockForecast] = []
    for outline in found:
        spec = outline.part.blocks[0].spec
        # The same net with other weights takes the same time.
        key = (spec.net, spec.layer, spec.region, *(b.spec.short_side_px for b, ids in outline.to_do.items() if ids))
        if how.wanted and key not in probes:
            probes[key] = probe(outline, dataset.pictures(spec.region), how.device, how.engine)
        seconds = measured.seconds if (measured := probes.get(key)) is not None else {}
        blocks += forecast(outline, stored, seconds, _name(outline.part))
    done = [one for one in probes.values() if one is not None]
    times = [block.seconds for block in blocks]
    awaited = [part.weights.missing for part in parts if isinstance(part.weights, AwaitedWeights)]
    return ExtractionOutlook(
        dataset=dataset.record.name,
        pictures=tuple(dict.fromkeys(_pictures(outline.part, outline.geometry.sentence()) for outline in found)),
        blocks=tuple(blocks),
        missing_weights=tuple(dict.fromkeys(filter(None, awaited))),
        probes=tuple(f"{one.pictures} pictures in {one.took_s:.1f} s {one.engine}" for one in done),
        seconds=None if None in times else sum(t for t in times if t is not None),
        memory_bytes=max((one.memory_bytes for one in done), default=None),
        disk_bytes=sum(block.n_bytes or 0 for block in blocks),
        free_bytes=free_disk(home.features),
    )


def _pictures(part: Part, sentence: str) -> str:
    return sentence if part.blocks[0].spec.region == "image" else f"boxes: {sentence}"


def _name(part: Part) -> str:
    waiting = isinstance(part.weights, AwaitedWeights) and part.weights.missing
    return f"{part.blocks[0].spec.net}, weights not there yet" if waiting else part.name


def _pretraining(recipe: Recipe, home: Home) -> list[str]:
    lines = []
    for name in dict.fromkeys(
        name for net in recipe.features.nets if isinstance(net.weights, RunWeights) and (name := net.weights.trained_by)
    ):
        run = Run.of(home, Path(name).stem, load(name, PretrainRecipe))
        command = f"tb pretrain --recipe {name}"
        state = "is done" if run.finished else "has begun, goes on with" if run.folder.is_dir() else "is needed:"
        lines.append(f"{name} {state}" if run.finished else f"{name} {state} {command}")
    return lines


def _svm(variant: Variant, recipe: Recipe, dataset: Dataset, rate: float | None) -> SvmOutlook:
    rounds, n_classes = rounds_of(recipe, dataset, dataset.splits()), len(dataset.labels.classes)
    n_images = max(len(split.train) for one in rounds for split in one.splits)
    lengths = _lengths(variant, recipe)
    dimensions = None if lengths is None else sum(lengths)
    outlook = SvmOutlook(
        variant=variant.name,
        images=n_images,
        dimensions=dimensions,
        classes=n_classes,
        splits=len(rounds[0].splits),
        rounds=len(rounds),
        tried=len(recipe.svm.C),
        fits=n_classes * sum(_fits(one) for one in rounds),
        solver="",
        reason="the length of a row is not known before",
        memory_bytes=None,
        seconds=None,
        where=None,
    )
    if lengths is None or dimensions is None:
        return outlook
    choice = choose_way(n_images, dimensions, n_classes)
    shapes = [costs.Shape.of(one.splits, len(dataset.ids), lengths, n_classes, len(one.Cs)) for one in rounds]
    loss = recipe.svm.loss
    where = None if rate is None else [asdict(costs.seconds(shape, choice.way, rate, loss)) for shape in shapes]
    return replace(
        outlook,
        solver=choice.way,
        reason=choice.reason,
        memory_bytes=max(costs.memory_bytes(shape, choice.way, memory_of_machine()) for shape in shapes),
        seconds=None if where is None else sum(sum(one.values()) for one in where),
        where=None if where is None else {step: sum(one[step] for one in where) for step in where[0]},
    )


def _fits(a_round: Round) -> int:
    """Count the SVMs of a class: every split's, with every C where there are images to choose it on, and the last."""
    return sum((len(a_round.Cs) if split.validation else 0) + 1 for split in a_round.splits)


def _lengths(variant: Variant, recipe: Recipe) -> list[int] | None:
    """Tell how long the parts of a row are; None where a net's descriptors are not known before."""
    found = []
    for part in variant.parts:
        spec = part.blocks[0].spec
        if part.weights is None:
            length = 3 * spec.short_side_px**2
        elif spec.net.name in TABLE_1:
            length = descriptor_dimensions(spec.net, spec.layer)
        else:
            return None
        found += [length] * (len(part.blocks) if AGGREGATORS[recipe.aggregate.kind] is None else 1)
    return found


def products_per_second() -> float:
    """Measure float32 matrix products.

    Returns
    -------
    float
        Operations per second, the best of three.
    """
    matrix = np.random.default_rng(0).standard_normal((_SIDE, _SIDE)).astype(np.float32)
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        np.matmul(matrix, matrix)
        best = max(best, 2 * _SIDE**3 / (time.perf_counter() - start))
    return best
