"""`tb extract`: images → descriptors in the cache, shard by shard; what is there is not computed again."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from transferbench import environment
from transferbench.cache.block import Block
from transferbench.data import Dataset
from transferbench.data.pictures import Pictures
from transferbench.data.survey import some
from transferbench.errors import DatasetError
from transferbench.home import Home
from transferbench.pipeline.engines import AUTO, EngineOptions, described, open_engine
from transferbench.pipeline.forecast import Outline, outlines
from transferbench.pipeline.meter import Meter
from transferbench.pipeline.plan import Part, all_parts, variants
from transferbench.pipeline.probe import try_out
from transferbench.pipeline.shards import OnBadImage, ShardImages, compute, n_workers, refuse_too_large
from transferbench.pipeline.spent import NOTHING, ScaleTime, Spent, in_words
from transferbench.pipeline.stage import Stage, timed
from transferbench.pipeline.weights_store import describe
from transferbench.progress import Progress, Task
from transferbench.recipe.transfer import Recipe
from transferbench.reporting.outlook import about

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


@dataclass(slots=True)
class Extraction(Stage):
    """An extraction that has ended.

    Parameters
    ----------
    times : dict of Path to ScaleTime
        Where this process's time went, by the folder of a block; those that were there already are not in it.
    """

    times: dict[Path, ScaleTime] = field(default_factory=dict)

    def time_of(self, block: Block) -> ScaleTime:
        """Tell where the time of a block went.

        Parameters
        ----------
        block : Block
            Of the extraction.

        Returns
        -------
        ScaleTime
            Nothing where it was there already.
        """
        return self.times.get(block.folder, NOTHING)


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


def extract(
    parts: Iterable[Part],
    dataset: Dataset,
    *,
    device: str,
    progress: Progress,
    engine: EngineOptions = AUTO,
    on_bad_image: OnBadImage = "stop",
) -> Extraction:
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
    Extraction
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
    with timed(Extraction(f"extract {dataset.record.name}")) as stage:
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
                spent = _extract_part(part, dataset, open_engine(part, device, engine), progress, on_bad_image)
                stage.times |= {block.folder: spent.at(block.spec.short_side_px) for block in part.blocks}
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


def _extract_part(
    part: Part, dataset: Dataset, engine: "Engine", progress: Progress, on_bad_image: OnBadImage
) -> Spent:
    total = len(part.blocks) * len(part.blocks[0].ids)
    to_do = sum(len(block.rows(index)) for block in part.blocks for index in block.missing_shards())
    resumed = f" ({total - to_do:,} of {total:,} descriptors are there)" if to_do < total else ""
    progress.say(f"extracting {part.title}: {len(part.blocks[0].ids)} images {described(engine)}{resumed}")
    if to_do >= WORTH_AN_ESTIMATE:
        (outline,) = outlines([part], dataset)
        for block, ids in outline.to_do.items():  # hours before their turn comes
            sizes = {i: outline.geometry.sizes[i] for i in ids if i in outline.geometry.sizes}
            refuse_too_large(engine, sizes, block.spec.short_side_px)
        progress.say(_estimate(outline, dataset, engine))
    with _worker(part, dataset, engine, progress, on_bad_image) as worker:
        meter = _until_complete(part, worker, progress, total, total - to_do)
    provenance = {"device": engine.device, "engine": engine.name, "precision": engine.precision}
    for block in part.blocks:
        block.finish({**environment.describe(), **provenance})
    progress.say(meter.summary(part, to_do))
    spent = worker.spent
    for line in in_words({b.spec.short_side_px: spent.at(b.spec.short_side_px) for b in part.blocks}, meter.seconds):
        progress.say(f"  {line}")
    return spent


def _estimate(outline: Outline, dataset: Dataset, engine: "Engine") -> str:
    """Say how long it will take, by one picture at every scale."""
    region = outline.part.blocks[0].spec.region
    trial = try_out(engine, outline, dataset.pictures(region), most=1, enough_s=_TRIAL_S)
    if trial is None:
        return "no estimate: none of the first images can be decoded"
    seconds = sum(
        outline.work(block) * trial.seconds[block.spec.short_side_px] for block, ids in outline.to_do.items() if ids
    )
    return f"{about(seconds)}, by a trial of one image at every scale"


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
    spent: Spent

    def shard(self, index: int, blocks: list[Block], task: Task) -> None:
        """Compute and publish one shard at the scales that lack it."""
        images = ShardImages(self.pictures, blocks[0].rows(index), self.prefetch, self.on_bad_image, self.spent)
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
        pictures = dataset.pictures(part.blocks[0].spec.region)
        yield _Worker(engine, pictures, prefetch, progress.say, on_bad_image, Spent())
