"""Experiments spread over the workers of a Dask scheduler, through joblib; every worker sees the same work folder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferbench.errors import TransferbenchError
from transferbench.home import Home
from transferbench.pipeline.datasets import DataOptions
from transferbench.pipeline.many import Outcome, evaluate_many
from transferbench.progress import Progress, Silent
from transferbench.recipe.transfer import Recipe, SolverName

_CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How experiments are evaluated wherever they are; see `evaluate_many`."""

    data_dir: Path | None
    limit: int | None
    solver: SolverName
    floors: str | None = None
    again: str | None = None


def evaluate_spread(
    experiments: Mapping[str, Recipe], home: Home, scheduler: str, way: Way, *, progress: Progress
) -> list[Outcome]:
    """Evaluate several recipes, each on one worker; one that lacks weights or descriptors does not stop the others.

    Parameters
    ----------
    experiments : mapping of str to Recipe
        By name, as the user wrote it.
    home : Home
        The work folder, under the same path on every worker: results and kept Gram matrices go there.
    scheduler : str
        Its address, for instance ``tcp://head:8786``.
    way : Way
        How.
    progress : Progress
        Told when all are done.

    Returns
    -------
    list of Outcome
        In the same order.

    Raises
    ------
    TransferbenchError
        If Dask is not installed, or no scheduler answers.
    """
    from joblib import Parallel, delayed, parallel_config

    with _connected(scheduler), parallel_config(backend="dask"), progress.task("evaluating", len(experiments)) as task:
        outcomes: list[Outcome] = []
        work = (delayed(_evaluate)(name, recipe, home, way) for name, recipe in experiments.items())
        for outcome in Parallel(return_as="generator")(work):
            outcomes.append(outcome)
            task.advance(note=outcome.name)
    return outcomes


def _evaluate(name: str, recipe: Recipe, home: Home, way: Way) -> Outcome:
    (outcome,) = evaluate_many(
        {name: recipe},
        home,
        progress=Silent(),
        data=DataOptions(way.data_dir, way.limit),
        solver=way.solver,
        floors=way.floors,
        again=way.again,
    )
    return outcome


@contextmanager
def _connected(scheduler: str) -> Iterator[None]:
    try:
        from distributed import Client
    except ModuleNotFoundError as problem:
        msg = "--scheduler needs Dask.\n  Run: pip install 'transferbench[distributed]'"
        raise TransferbenchError(msg) from problem
    try:
        client: Any = Client(scheduler, timeout=_CONNECT_TIMEOUT_S)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as problem:
        msg = f"no Dask scheduler answers at {scheduler}: {problem}\n  Start one: dask scheduler; dask worker ADDRESS"
        raise TransferbenchError(msg) from problem
    with client:
        yield
