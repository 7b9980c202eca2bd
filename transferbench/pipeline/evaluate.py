"""`tb evaluate`: cached descriptors → scores → a stored result. Never imports torch."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from transferbench.cache.block import Block
from transferbench.data import Dataset
from transferbench.data.survey import some
from transferbench.errors import CacheError
from transferbench.evaluation.protocol import Evaluation, Prediction, evaluate, predict
from transferbench.evaluation.svm.gram_store import GramStore
from transferbench.evaluation.svm.solvers import Solver, make_solver
from transferbench.home import Home
from transferbench.pipeline.account import metric_of, result_of, variant_score
from transferbench.pipeline.experiment import Line, experiment_of
from transferbench.pipeline.official import entry_of
from transferbench.pipeline.pieces import forget
from transferbench.pipeline.plan import Variant, blocks, variants
from transferbench.pipeline.skipped import Remaining, skipped_ids
from transferbench.pipeline.stage import Stage, timed
from transferbench.pipeline.statistics import with_intervals
from transferbench.progress import Progress, Task
from transferbench.recipe.transfer import Recipe, SolverName
from transferbench.reporting.result import StageRecord, find_equal, save_result
from transferbench.reporting.test_scores import OFFICIAL, SplitScores


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
    with timed(Stage(f"evaluate {name}")) as stage:
        layout = variants(recipe, dataset, home)
        _require(asked, layout, options)
        dataset = without_skipped(layout, dataset, progress)
        store = GramStore(home.grams)
        machine = make_solver(solver, recipe.svm.loss, store) if isinstance(solver, str) else solver
        experiment = experiment_of(recipe, dataset, layout, home, machine)
        folder = find_equal(home.results, None if reuse_any else name, experiment.inputs_sha256)
        if folder is not None:
            stage.reused = True
            progress.say(f"reused: result {folder}")
            return folder, stage
        with progress.task(f"evaluating {name}", experiment.n_splits) as task:
            found = [_evaluate(line, machine, task) for line in experiment.lines]
            predicted = None if experiment.official is None else _predict(experiment.official, machine, task)
    stages = tuple(StageRecord(name=s.name, reused=s.reused, seconds=round(s.seconds, 3)) for s in (*before, stage))
    told = [
        variant_score(line.variant, line.of, *of_line) for line, of_line in zip(experiment.lines, found, strict=True)
    ]
    kept = _test_scores([evaluation for _, evaluation in found], dataset)
    scores, statistics = with_intervals(told, kept, metric_of(dataset))
    entry = None if predicted is None else entry_of(predicted, dataset)
    result = result_of(name, recipe, dataset, layout, scores, machine, experiment.inputs_sha256, stages)
    result = result.model_copy(update={"statistics": statistics, "entry": entry})
    if predicted is not None:
        kept.append(SplitScores.of(0, OFFICIAL, predicted.split.test, None, predicted.scores))
    folder = save_result(home.results, result, kept)
    forget(experiment.unfinished)
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


def without_skipped(layout: tuple[Variant, ...], dataset: Dataset, progress: Progress) -> Dataset:
    """Leave out the images that could not be decoded.

    Parameters
    ----------
    layout : tuple of Variant
        All blocks are complete.
    dataset : Dataset
        The target.
    progress : Progress
        Told how many are left out.

    Returns
    -------
    Dataset
        The same, if nothing was skipped.
    """
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


def _evaluate(line: Line, solver: Solver, task: Task) -> tuple[int, Evaluation]:
    features = line.features()
    found = evaluate(
        features,
        line.labels,
        line.of.splits,
        solver,
        line.of.Cs,
        done=partial(task.advance, note=line.variant.name),
        average_precision=line.average_precision,
        pieces=line.pieces(),
        shuffle_seed=line.variant.shuffle_seed,
    )
    return features.dimensions, found


def _predict(line: Line, solver: Solver, task: Task) -> Prediction:
    (split,) = line.of.splits
    predicted = predict(
        line.features(), line.labels, split, solver, line.of.Cs, line.average_precision, pieces=line.pieces()
    )
    task.advance(note="test images for the server")
    return predicted


def _test_scores(found: Sequence[Evaluation], dataset: Dataset) -> list[SplitScores]:
    return [
        SplitScores.of(number, s.split.name, s.split.test, dataset.labels, s.scores)
        for number, evaluation in enumerate(found)
        for s in evaluation.splits
    ]
