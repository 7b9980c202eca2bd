"""`tb evaluate`: cached descriptors → scores → a stored result. Never imports torch."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from transferbench import environment
from transferbench.cache.block import Block
from transferbench.cache.shard import ROWS_PER_SHARD
from transferbench.data import Dataset
from transferbench.data.people import image_of
from transferbench.data.random_splits import low_shot_splits
from transferbench.data.survey import some
from transferbench.errors import CacheError
from transferbench.evaluation.aggregate import AGGREGATORS, FeatureParts, Source
from transferbench.evaluation.metrics import mean_average_precision
from transferbench.evaluation.protocol import Evaluation, Prediction, SplitResult, evaluate, predict
from transferbench.evaluation.shared import shared
from transferbench.evaluation.svm.gram_store import GramStore
from transferbench.evaluation.svm.solvers import Solver, make_solver
from transferbench.home import Home
from transferbench.pipeline.official import entry_of, official_split
from transferbench.pipeline.pieces import StoredPieces, folder_of, forget
from transferbench.pipeline.plan import PRETRAINED, REGION_WORDS, Variant, blocks, variants
from transferbench.pipeline.skipped import Remaining, skipped_ids
from transferbench.pipeline.stage import Stage, timed
from transferbench.pipeline.statistics import with_intervals
from transferbench.progress import Progress, Task
from transferbench.recipe.files import to_dict
from transferbench.recipe.transfer import Recipe, SolverName
from transferbench.reporting.result import (
    BlockRecord,
    Result,
    SplitScore,
    StageRecord,
    VariantScore,
    find_equal,
    save_result,
)
from transferbench.reporting.test_scores import OFFICIAL, SplitScores
from transferbench.types.arrays import Float32
from transferbench.types.identity import sha256_of
from transferbench.types.split import Split

EVALUATION_VERSION = 1
"""Raised when a change of the evaluation code changes a score."""


@dataclass(frozen=True, slots=True)
class Round:
    """One division of the training images, and the values of C to try on it.

    Parameters
    ----------
    train_per_class : int or None
        Where a recipe asks for few images: how many of every class.
    splits : tuple of Split
        To evaluate.
    Cs : tuple of float
        Ascending; a single one where there are no validation images.
    """

    train_per_class: int | None
    splits: tuple[Split, ...]
    Cs: tuple[float, ...]


def evaluate_recipe(
    asked: str,
    recipe: Recipe,
    dataset: Dataset,
    home: Home,
    *,
    progress: Progress,
    before: Sequence[Stage] = (),
    solver: SolverName | Solver = "auto",
    reuse_any: bool = False,
    options: str = "",
) -> tuple[Path, Stage]:
    """Evaluate a recipe from cached descriptors, unless a result of the same inputs is stored.

    Parameters
    ----------
    asked : str
        The recipe as the user named it: a shipped name, or a path whose stem is the name.
    recipe : Recipe
        The experiment.
    dataset : Dataset
        Its target.
    home : Home
        The work folder.
    progress : Progress
        Told what happens.
    before : sequence of Stage
        What the same command did already; recorded in the result.
    solver : {"auto", "gram", "rows", "liblinear"} or Solver
        How the SVMs are fitted; see `make_solver`. A solver that other recipes of the same command use as well.
    reuse_any : bool
        Whether a result of the same inputs under another recipe's name will do.
    options : str
        What else the user wrote, for commands that a message names; begins with a blank.

    Returns
    -------
    tuple of Path and Stage
        The result's folder, and whether it was there.

    Raises
    ------
    CacheError
        If descriptors are missing (the message gives the command that makes them) or damaged.
    """
    name = name_of(asked)
    with timed(f"evaluate {name}") as stage:
        layout = variants(recipe, dataset, home)
        _require(asked, layout, options)
        dataset = _without_skipped(layout, dataset, progress)
        store = GramStore(home.grams)
        machine = make_solver(solver, recipe.svm.loss, store) if isinstance(solver, str) else solver
        splits, official = dataset.splits(), official_split(dataset)
        rounds = _rounds(recipe, dataset, splits)
        inputs = _inputs_sha256(recipe, layout, dataset, rounds, official, machine)
        folder = find_equal(home.results, None if reuse_any else name, inputs)
        if folder is not None:
            stage.reused = True
            progress.say(f"reused: result {folder}")
            return folder, stage
        lines = [(variant, a_round) for variant in layout for a_round in rounds]
        unfinished = folder_of(home.results, inputs)
        with progress.task(f"evaluating {name}", len(lines) * len(splits) + (official is not None)) as task:
            found = [
                _evaluate(variant, a_round, recipe, dataset, machine, task, StoredPieces(unfinished, number))
                for number, (variant, a_round) in enumerate(lines)
            ]
            predicted = None if official is None else _predict(layout[0], recipe, dataset, official, machine, task)
    stages = tuple(StageRecord(name=s.name, reused=s.reused, seconds=round(s.seconds, 3)) for s in (*before, stage))
    kept = _test_scores([evaluation for _, evaluation in found], dataset)
    scores, statistics = with_intervals(
        [_variant_score(*line, *of_line) for line, of_line in zip(lines, found, strict=True)],
        kept,
        _metric(dataset),
    )
    result = _result(name, recipe, dataset, layout, scores, machine, inputs, stages)
    result = result.model_copy(update={"statistics": statistics})
    if predicted is not None:
        result = result.model_copy(update={"entry": entry_of(predicted, dataset)})
        kept.append(SplitScores.of(0, OFFICIAL, predicted.split.test, None, predicted.scores))
    folder = save_result(home.results, result, kept)
    forget(unfinished)
    progress.say(f"wrote {folder}")
    return folder, stage


def name_of(asked: str) -> str:
    """Return the name under which a recipe's results are kept.

    Parameters
    ----------
    asked : str
        A shipped name, a path, or the name of a combination of settings.

    Returns
    -------
    str
        Of a path its stem.
    """
    return Path(asked).stem if asked.endswith((".yaml", ".yml")) else Path(asked).name


def _without_skipped(layout: tuple[Variant, ...], dataset: Dataset, progress: Progress) -> Dataset:
    skipped = skipped_ids(list(blocks(layout)), dataset)
    if not skipped:
        return dataset
    progress.say(f"left out: {some(skipped, 'image')} that could not be decoded (tb cache list)")
    return Remaining(dataset, skipped)


def missing_blocks(layout: Sequence[Variant]) -> list[Block]:
    """Find blocks that are not complete.

    Parameters
    ----------
    layout : sequence of Variant
        An experiment.

    Returns
    -------
    list of Block
        In order.
    """
    return [block for block in blocks(tuple(layout)) if not block.is_complete()]


def _require(asked: str, layout: Sequence[Variant], options: str) -> None:
    missing = missing_blocks(layout)
    if missing:
        wanted = "\n".join(f"    {block.spec.net}, {block.spec.short_side_px} px ({block.folder})" for block in missing)
        name = shlex.quote(asked)
        msg = (
            f"{len(missing)} block(s) of descriptors are missing:\n{wanted}\n"
            f"  Run: tb extract --recipe {name}{options}\n"
            f"  Or let it be done: tb evaluate --recipe {name}{options} --extract"
        )
        raise CacheError(msg)


def _inputs_sha256(
    recipe: Recipe,
    layout: tuple[Variant, ...],
    dataset: Dataset,
    rounds: Sequence[Round],
    official: Split | None,
    solver: Solver,
) -> str:
    """Hash everything that decides the scores; the row that a recipe claims is not among it."""
    inputs = {
        "aggregate": to_dict(recipe.aggregate),
        "svm": to_dict(recipe.svm),
        "variants": [
            [variant.name, [[block.spec.key() for block in part.blocks] for part in variant.parts]]
            for variant in layout
        ],
        "splits": [split.sha256 for a_round in rounds for split in a_round.splits],
        "labels": sha256_of([dataset.labels.classes, dataset.labels.by_id]),
        "solver": solver.name,
        "evaluation_version": EVALUATION_VERSION,
    }
    if official is not None:
        inputs["official"] = official.sha256
    if recipe.low_shot is not None:
        inputs["low_shot"] = to_dict(recipe.low_shot)
    if seeds := [variant.shuffle_seed for variant in layout if variant.shuffle_seed is not None]:
        inputs["shuffle_seeds"] = seeds
    return sha256_of(inputs)


def _rounds(recipe: Recipe, dataset: Dataset, splits: Sequence[Split]) -> list[Round]:
    """List what is done with every variant: the splits as they are, or with every number of training images."""
    if recipe.low_shot is None:
        return [Round(None, tuple(splits), recipe.svm.C)]
    fixed = (recipe.low_shot.C_without_validation,)
    counted = [(n, low_shot_splits(dataset.record, dataset.labels, splits, n)) for n in recipe.low_shot.train_per_class]
    return [Round(n, few, recipe.svm.C if few[0].validation else fixed) for n, few in counted]


def _evaluate(
    variant: Variant,
    a_round: Round,
    recipe: Recipe,
    dataset: Dataset,
    solver: Solver,
    task: Task,
    pieces: StoredPieces,
) -> tuple[int, Evaluation]:
    features = _features(variant, recipe, dataset)
    found = evaluate(
        features,
        dataset.labels,
        a_round.splits,
        solver,
        a_round.Cs,
        done=partial(task.advance, note=variant.name),
        average_precision=dataset.record.average_precision or "area",
        pieces=pieces,
        shuffle_seed=variant.shuffle_seed,
    )
    return features.dimensions, found


def _predict(
    variant: Variant, recipe: Recipe, dataset: Dataset, official: Split, solver: Solver, task: Task
) -> Prediction:
    features = _features(variant, recipe, dataset)
    definition = dataset.record.average_precision or "area"
    predicted = predict(features, dataset.labels, official, solver, recipe.svm.C, definition)
    task.advance(note="test images for the server")
    return predicted


def _features(variant: Variant, recipe: Recipe, dataset: Dataset) -> FeatureParts:
    nets = [[_source(block, dataset) for block in part.blocks] for part in variant.parts]
    return FeatureParts(nets, AGGREGATORS[recipe.aggregate.kind], recipe.aggregate.l2)


def _test_scores(found: Sequence[Evaluation], dataset: Dataset) -> list[SplitScores]:
    return [
        SplitScores.of(number, s.split.name, s.split.test, dataset.labels, s.scores)
        for number, evaluation in enumerate(found)
        for s in evaluation.splits
    ]


def _source(block: Block, dataset: Dataset) -> Source:
    def chunks() -> Iterator[Float32]:
        return (shard.array for shard in block.shards() if shard.ids)

    region, skipped = REGION_WORDS[block.spec.region], block.skipped()
    ids = tuple(i for i in block.ids if i not in skipped)
    source = Source(f"{block.spec.net} at {block.spec.short_side_px} px{region}", ids, chunks, block.spec.key())
    if block.ids == dataset.ids:
        return source
    # Several people share a photograph, or images are left out, here or in another block: chunks as if nothing was.
    mine = set(ids)
    whose = [i if i in mine else image_of(i) for i in dataset.ids]
    return shared(source, dataset.ids, whose, ROWS_PER_SHARD)


def _variant_score(variant: Variant, a_round: Round, dimensions: int, found: Evaluation) -> VariantScore:
    specs = [part.blocks[0].spec for part in variant.parts]
    nets = " & ".join(f"net {spec.net.name}" for spec in specs if spec.region == specs[0].region)
    regions = " and ".join(dict.fromkeys(spec.region for spec in specs))
    shown = "" if regions == "image" else f", {regions}"
    # A recipe may ask for random weights itself; then its own line must not call them pretrained.
    own = "random weights" if all(part.is_random for part in variant.parts) else variant.name
    title = f"{own}, {nets}{shown}" if variant.name == PRETRAINED else variant.name
    few = "" if a_round.train_per_class is None else f", {a_round.train_per_class} per class"
    return VariantScore(
        name=variant.name,
        title=title + few,
        dimensions=dimensions,
        mean=found.mean,
        std=found.std,
        splits=tuple(_split_score(s) for s in found.splits),
        train_per_class=a_round.train_per_class,
    )


def _split_score(found: SplitResult) -> SplitScore:
    return SplitScore(
        name=found.split.name,
        sha256=found.split.sha256,
        n_fit=len(found.split.fit),
        n_validation=len(found.split.validation),
        n_test=len(found.split.test),
        C=found.C,
        C_at_edge=found.C_at_edge,
        validation=tuple(found.validation.items()),
        value=found.score.value,
        per_class=found.score.per_class,
        others=tuple((score.metric, score.value) for score in found.others),
        confusion=() if found.confusion is None else tuple(tuple(map(int, row)) for row in found.confusion),
    )


def _result(
    name: str,
    recipe: Recipe,
    dataset: Dataset,
    layout: tuple[Variant, ...],
    scores: tuple[VariantScore, ...],
    solver: Solver,
    inputs: str,
    stages: tuple[StageRecord, ...],
) -> Result:
    return Result(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        recipe_name=name,
        recipe=to_dict(recipe),
        inputs_sha256=inputs,
        dataset=dataset.record.name,
        dataset_title=dataset.record.title,
        metric=_metric(dataset),
        limit=dataset.limit,
        classes=dataset.labels.classes,
        scores=scores,
        solver=solver.name,
        blocks=tuple(map(_block_record, blocks(layout))),
        weights=_weights_records(layout[0]),
        environment=environment.describe(),
        device=", ".join(sorted({block.environment()["device"] for block in blocks(layout)})),
        git_commit=environment.git_commit(),
        stages=stages,
        skipped=dataset.records() if isinstance(dataset, Remaining) else (),
    )


def _block_record(block: Block) -> BlockRecord:
    made_on = block.environment()
    engine = f"{made_on.get('engine', 'torch')} {made_on.get('precision', 'float32')}"
    return BlockRecord(key=block.spec.key(), spec=block.spec.to_dict(), engine=engine)


def _metric(dataset: Dataset) -> str:
    definition = dataset.record.average_precision
    return dataset.record.metric if definition is None else mean_average_precision(definition)


def _weights_records(variant: Variant) -> tuple[dict[str, Any], ...]:
    # Image and box are two parts of the same net, with the same weights.
    headers = {part.weights.header.sha256: part.weights.header for part in variant.parts if part.weights is not None}
    return tuple(
        {"net": asdict(header.net), "sha256": header.sha256, "label": header.label, "origin": header.origin}
        for header in headers.values()
    )
