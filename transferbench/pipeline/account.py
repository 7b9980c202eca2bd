"""What an evaluation found, and all that it rests on, as a `Result`."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from transferbench import environment
from transferbench.cache.block import Block
from transferbench.data import Dataset
from transferbench.evaluation.metrics import mean_average_precision
from transferbench.evaluation.protocol import Evaluation, SplitResult
from transferbench.evaluation.svm.solvers import Solver
from transferbench.pipeline.inputs import Round
from transferbench.pipeline.plan import PRETRAINED, Variant, blocks
from transferbench.pipeline.skipped import Remaining
from transferbench.recipe.files import to_dict
from transferbench.recipe.transfer import Recipe
from transferbench.reporting.result import BlockRecord, Result, SplitScore, StageRecord, VariantScore


def variant_score(variant: Variant, a_round: Round, dimensions: int, found: Evaluation) -> VariantScore:
    """Tell a line of a result.

    Parameters
    ----------
    variant : Variant
        The recipe's own features, or a floor.
    a_round : Round
        What was done with it.
    dimensions : int
        Of its features.
    found : Evaluation
        All splits.

    Returns
    -------
    VariantScore
        Without its interval.
    """
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


def result_of(
    name: str,
    recipe: Recipe,
    dataset: Dataset,
    layout: tuple[Variant, ...],
    scores: tuple[VariantScore, ...],
    solver: Solver,
    inputs: str,
    stages: tuple[StageRecord, ...],
) -> Result:
    """Put together what was found and what it rests on.

    Parameters
    ----------
    name : str
        Of the recipe, for results.
    recipe : Recipe
        The experiment.
    dataset : Dataset
        Its target.
    layout : tuple of Variant
        As laid out.
    scores : tuple of VariantScore
        Line by line.
    solver : Solver
        By its name.
    inputs : str
        As `inputs_sha256` gave it.
    stages : tuple of StageRecord
        Of the command.

    Returns
    -------
    Result
        Of this moment, with this environment.
    """
    return Result(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        recipe_name=name,
        recipe=to_dict(recipe),
        inputs_sha256=inputs,
        dataset=dataset.record.name,
        dataset_title=dataset.record.title,
        metric=metric_of(dataset),
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


def metric_of(dataset: Dataset) -> str:
    """Name the metric that counts.

    Parameters
    ----------
    dataset : Dataset
        Any.

    Returns
    -------
    str
        As results show it.
    """
    definition = dataset.record.average_precision
    return dataset.record.metric if definition is None else mean_average_precision(definition)


def _weights_records(variant: Variant) -> tuple[dict[str, Any], ...]:
    # Image and box are two parts of the same net, with the same weights.
    headers = {part.weights.header.sha256: part.weights.header for part in variant.parts if part.weights is not None}
    return tuple(
        {"net": asdict(header.net), "sha256": header.sha256, "label": header.label, "origin": header.origin}
        for header in headers.values()
    )
