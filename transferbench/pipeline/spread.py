"""Experiments side by side, through joblib: in processes of this machine, or on the workers of a Dask scheduler.

Whole experiments are what is spread. The splits of one share the Gram matrix of all their images, and every product
with it uses all cores, so on one machine there is nothing to gain from splits in processes of their own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferbench.environment import cores, share_with
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
    experiments: Mapping[str, Recipe],
    home: Home,
    way: Way,
    *,
    scheduler: str | None = None,
    jobs: int = 1,
    progress: Progress,
) -> list[Outcome]:
    """Evaluate several recipes side by side; one that lacks weights or descriptors does not stop the others.

    Parameters
    ----------
    experiments : mapping of str to Recipe
        By name, as the user wrote it.
    home : Home
        The work folder, under the same path on every worker: results and kept Gram matrices go there.
    way : Way
        How.
    scheduler : str, optional
        A Dask scheduler's address, for instance ``tcp://head:8786``: each recipe goes to one of its workers.
    jobs : int
        Without a scheduler: processes on this machine, which divide its cores and its memory among them.
    progress : Progress
        Told when one is done.

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

    processes = 1 if scheduler is not None else max(1, min(jobs, len(experiments)))
    threads = max(1, cores() // processes)
    local = {"backend": "loky", "n_jobs": processes, "inner_max_num_threads": threads}
    config: dict[str, Any] = local if scheduler is None else {"backend": "dask"}
    outcomes: list[Outcome] = []
    with _connected(scheduler), progress.task("evaluating", len(experiments)) as task, parallel_config(**config):
        work = (delayed(_evaluate)(name, recipe, home, way, processes) for name, recipe in experiments.items())
        for outcome in Parallel(return_as="generator")(work):
            outcomes.append(outcome)
            task.advance(note=outcome.name)
    return outcomes


def _evaluate(name: str, recipe: Recipe, home: Home, way: Way, processes: int) -> Outcome:
    share_with(processes)
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
def _connected(scheduler: str | None) -> Iterator[None]:
    if scheduler is None:
        yield
        return
    try:
        from distributed import Client
    except ModuleNotFoundError as problem:
        msg = "--scheduler needs Dask.\n  Run: pip install 'transferbench[distributed]'"
        raise TransferbenchError(msg) from problem
    try:
        client: Any = Client(scheduler, timeout=_CONNECT_TIMEOUT_S)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as problem:
        start = "dask scheduler; on each machine: dask worker ADDRESS --nthreads 1 --no-nanny"
        msg = f"no Dask scheduler answers at {scheduler}: {problem}\n  Start one: {start}"
        raise TransferbenchError(msg) from problem
    with client:
        yield
