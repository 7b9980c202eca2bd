"""`tb extract`: images → descriptors in the cache, shard by shard; what is there is not computed again."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transferbench import environment
from transferbench.cache.block import Block
from transferbench.data import Dataset
from transferbench.data.pictures import Pictures
from transferbench.data.survey import some
from transferbench.errors import DatasetError, UnknownNameError, WeightsError
from transferbench.home import Home
from transferbench.lookup import NET_SOURCES, is_net, net_names, unknown
from transferbench.pipeline.datasets import WHOLE, DataOptions, target
from transferbench.pipeline.engines import AUTO, EngineOptions, described, open_engine
from transferbench.pipeline.floors import with_floors
from transferbench.pipeline.forecast import outlines
from transferbench.pipeline.meter import Meter
from transferbench.pipeline.plan import Draw, Find, Part, all_parts, part_of, variants
from transferbench.pipeline.probe import try_out
from transferbench.pipeline.shards import OnBadImage, ShardImages, compute, n_workers
from transferbench.pipeline.stage import Stage, timed
from transferbench.pipeline.weights import choose, draw, weights_choice
from transferbench.pipeline.weights_store import describe
from transferbench.progress import Progress, Task
from transferbench.recipe.files import load
from transferbench.recipe.names import TABLE_1
from transferbench.recipe.transfer import Recipe
from transferbench.reporting.outlook import duration
from transferbench.types.regions import Region
from transferbench.types.scales import Scales

if TYPE_CHECKING:
    from transferbench.extraction.engine import Engine
    from transferbench.extraction.prefetch import Prefetch

PATIENCE_S = 600.0
"""How long to wait for shards that other processes are at, without one of them being finished."""
_POLL_S = 0.2
WORTH_AN_ESTIMATE = 100
"""Descriptors; fewer are done before anybody reads how long they take."""
_TRIAL_S = 0.3
_NAMED = 5


def extract_recipe(
    recipe: Recipe,
    dataset: Dataset,
    home: Home,
    *,
    device: str,
    progress: Progress,
    engine: EngineOptions = AUTO,
    on_bad_image: OnBadImage = "stop",
) -> Stage:
    """Extract all descriptors of a recipe, those of its floors included.

    Parameters
    ----------
    recipe : Recipe
        The experiment.
    dataset : Dataset
        Its target.
    home : Home
        The work folder.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    progress : Progress
        Told what happens.
    engine : EngineOptions
        How descriptors are computed.
    on_bad_image : {"stop", "skip"}
        What to do about an image that cannot be decoded.

    Returns
    -------
    Stage
        Marked as reused if nothing had to be computed.
    """
    parts = all_parts(variants(recipe, dataset, home))
    return extract(parts, dataset, device=device, progress=progress, engine=engine, on_bad_image=on_bad_image)


def parts_of_recipe(
    name: str,
    home: Home,
    data: DataOptions = WHOLE,
    floors: str | None = None,
    *,
    find: Find = choose,
    drawn: Draw = draw,
) -> tuple[Dataset, list[Part]]:
    """Lay out what ``tb extract --recipe`` means.

    Parameters
    ----------
    name : str
        A shipped recipe or a path.
    home : Home
        The work folder.
    data : DataOptions
        Where the images are, and how many are wanted.
    floors : str, optional
        Kinds of floors with commas between them, beside those of the recipe.
    find, drawn : callable
        As for `variants`.

    Returns
    -------
    tuple of Dataset and list of Part
        What to look at, and the nets to look with.
    """
    recipe = with_floors(load(name, Recipe), floors)
    dataset = target(recipe.dataset, home, data)
    return dataset, all_parts(variants(recipe, dataset, home, find=find, drawn=drawn))


def parts_of_options(  # noqa: PLR0913 - one for each option of the command line
    dataset: str,
    net: str,
    weights: str,
    scales: Scales,
    *,
    flip: bool,
    home: Home,
    layer: str | None = None,
    regions: Sequence[Region] = ("image",),
    data: DataOptions = WHOLE,
    find: Find = choose,
) -> tuple[Dataset, list[Part]]:
    """Lay out what ``tb extract --dataset`` and its options mean.

    Parameters
    ----------
    dataset : str
        Name of the target.
    net : str
        A net of Table 1 or another, or several with commas between them.
    weights : str
        As `weights_choice` reads it: one for all nets, or one for each with commas between them.
    scales : Scales
        Short sides in px.
    flip : bool
        Whether to average with the mirrored image.
    home : Home
        The work folder.
    layer : {"fc7", "fc6", "pool5"}, optional
        Of the nets of Table 1.
    regions : sequence of {"image", "box"}
        What the nets are shown.
    data : DataOptions
        Where the images are, and how many are wanted.
    find : callable
        As `choose`, which finds the weights that are there.

    Returns
    -------
    tuple of Dataset and list of Part
        What to look at, and the nets to look with.

    Raises
    ------
    UnknownNameError
        If there is no such net.
    WeightsError
        If nets and weights differ in number, or weights are not there.
    """
    opened = target(dataset, home, data)
    nets, texts = net.split(","), weights.split(",")
    for name in nets:
        if not is_net(name, TABLE_1):
            raise UnknownNameError(unknown("net", name, [*net_names(TABLE_1), *(f"{s}NAME" for s in NET_SOURCES)]))
    if len(texts) not in {1, len(nets)}:
        msg = f"--weights names {len(texts)} for {len(nets)} nets; give one for all or one for each"
        raise WeightsError(msg)
    texts = texts * len(nets) if len(texts) == 1 else texts
    chosen = [find(weights_choice(text), home, net=name) for name, text in zip(nets, texts, strict=True)]
    return opened, [
        part_of(each, scales, opened, home, flip=flip, layer=layer, region=region)
        for region in regions
        for each in chosen
    ]


def extract(
    parts: Iterable[Part],
    dataset: Dataset,
    *,
    device: str,
    progress: Progress,
    engine: EngineOptions = AUTO,
    on_bad_image: OnBadImage = "stop",
) -> Stage:
    """Extract the descriptors of nets at scales.

    Parameters
    ----------
    parts : iterable of Part
        Nets, each with its blocks.
    dataset : Dataset
        Whose images.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    progress : Progress
        Told what happens.
    engine : EngineOptions
        How descriptors are computed.
    on_bad_image : {"stop", "skip"}
        What to do about an image that cannot be decoded.

    Returns
    -------
    Stage
        Marked as reused if nothing had to be computed.

    Raises
    ------
    DatasetError
        If an image cannot be decoded, now or when an earlier run skipped it, and none may be skipped.
    DeviceError
        If the device or engine that was asked for is not there, or its memory does not suffice for one image.
    FeatureError
        If a descriptor is zero or not finite; shards before it are kept.
    StorageError
        If the disk is full, or other processes are at the last shards and finish none for `PATIENCE_S`.

    Notes
    -----
    Any number of processes, of one torchrun or started by hand, may extract the same blocks at once: each takes the
    shards that no other is at. The rows of a shard do not depend on who computes it.
    """
    with timed(f"extract {dataset.record.name}") as stage:
        stage.reused = True
        for part in parts:
            skipped = _skipped_before(part, on_bad_image)
            if all(block.is_complete() for block in part.blocks):
                lacking = f", without {some(skipped, 'skipped image')}" if skipped else ""
                progress.say(f"reused: descriptors of {len(part.blocks[0].ids)} images by {part.title}{lacking}")
            else:
                stage.reused = False
                if part.weights is not None and part.weights.path is not None:
                    progress.say(f"weights: {describe(part.weights.header)} ({part.weights.path})")
                _extract_part(part, dataset, open_engine(part, device, engine), progress, on_bad_image)
    return stage


def _skipped_before(part: Part, on_bad_image: OnBadImage) -> dict[str, str]:
    """Tell what earlier runs have skipped; refuse it where nothing may be skipped."""
    skipped = {i: reason for block in part.blocks for i, reason in block.skipped_so_far().items()}
    if skipped and on_bad_image == "stop":
        named = "\n".join(f"    {image_id}: {reason}" for image_id, reason in sorted(skipped.items())[:_NAMED])
        more = f"\n    and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
        msg = (
            f"{len(skipped)} image(s) could not be decoded and were skipped by an earlier run:\n{named}{more}\n"
            "  Go on without them: --on-bad-image skip. Or get the files again; other files give other descriptors."
        )
        raise DatasetError(msg)
    return skipped


def _extract_part(part: Part, dataset: Dataset, engine: "Engine", progress: Progress, on_bad_image: OnBadImage) -> None:
    total = len(part.blocks) * len(part.blocks[0].ids)
    to_do = sum(len(block.rows(index)) for block in part.blocks for index in block.missing_shards())
    resumed = f" ({total - to_do} of {total} descriptors are there)" if to_do < total else ""
    progress.say(f"extracting {part.title}: {len(part.blocks[0].ids)} images {described(engine)}{resumed}")
    if to_do >= WORTH_AN_ESTIMATE:
        progress.say(_estimate(part, dataset, engine))
    with _worker(part, dataset, engine, progress, on_bad_image) as worker:
        meter = _until_complete(part, worker, progress, total, total - to_do)
    provenance = {"device": engine.device, "engine": engine.name, "precision": engine.precision}
    for block in part.blocks:
        block.finish({**environment.describe(), **provenance})
    progress.say(meter.summary(part))


def _estimate(part: Part, dataset: Dataset, engine: "Engine") -> str:
    """Say how long it will take, by one picture at every scale."""
    (outline,) = outlines([part], dataset)
    trial = try_out(engine, outline, dataset.pictures(part.blocks[0].spec.region), most=1, enough_s=_TRIAL_S)
    if trial is None:
        return "no estimate: none of the first images can be decoded"
    seconds = sum(
        outline.work(block) * trial.seconds[block.spec.short_side_px] for block, ids in outline.to_do.items() if ids
    )
    return f"about {duration(seconds)}, by a trial of one image at every scale"


def _until_complete(part: Part, worker: "_Worker", progress: Progress, total: int, done: int) -> Meter:
    with progress.task(f"extracting {part.title}", total, done=done) as task:
        meter = Meter(task, len(part.blocks))
        waiting_since = None
        while absent := {(block, index) for block in part.blocks for index in block.absent_shards()}:
            if _work_through(part, absent, worker, meter):
                waiting_since = None
                continue
            # Other processes are at all that is left; if one of them dies, its claim is free at once.
            waiting_since = waiting_since or (time.monotonic(), len(absent))
            if len(absent) < waiting_since[1]:
                waiting_since = (time.monotonic(), len(absent))
            if time.monotonic() - waiting_since[0] > PATIENCE_S:
                block, index = min(absent, key=lambda item: (item[0].folder, item[1]))
                block.refuse_claim(index)
            time.sleep(_POLL_S)
    return meter


def _work_through(part: Part, absent: set[tuple[Block, int]], worker: "_Worker", task: Task) -> bool:
    """Compute every absent shard that nobody else is at; tell whether there was one."""
    worked = False
    n_shards = part.blocks[0].n_shards
    rank, world = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    # Processes of one torchrun start apart, so that they seldom ask for the same shard.
    for step in range(n_shards):
        index = (step + rank * n_shards // world) % n_shards
        with ExitStack() as held:
            wanted = [block for block in part.blocks if (block, index) in absent]
            mine = [block for block in wanted if held.enter_context(block.claim(index))]
            if mine:
                worker.shard(index, mine, task)
                worked = True
    return worked


@dataclass(frozen=True, slots=True)
class _Worker:
    """A net in an engine, the pictures it looks at, and the threads that prepare them."""

    engine: "Engine"
    pictures: Pictures
    prefetch: "Prefetch"
    warn: Callable[[str], None]
    on_bad_image: OnBadImage

    def shard(self, index: int, blocks: list[Block], task: Task) -> None:
        """Compute and publish one shard at the scales that lack it."""
        images = ShardImages(self.pictures, blocks[0].rows(index), self.prefetch, self.on_bad_image)
        for image_id, reason in images.skipped.items():
            self.warn(f"skipped: {image_id}: {reason}")
        compute(self.engine, images, index, blocks, done=task.advance, warn=self.warn)


@contextmanager
def _worker(
    part: Part, dataset: Dataset, engine: "Engine", progress: Progress, on_bad_image: OnBadImage
) -> Iterator[_Worker]:
    from transferbench.extraction.memory import memory_kept
    from transferbench.extraction.prefetch import prefetching

    with prefetching(n_workers()) as prefetch, memory_kept():
        yield _Worker(engine, dataset.pictures(part.blocks[0].spec.region), prefetch, progress.say, on_bad_image)
