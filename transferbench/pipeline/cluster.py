"""Splits on the workers of a Dask cluster: each is fitted by one of them, and kept where the work folder is shared.

The result is then made here as it always is: an evaluation that finds its splits finished has nothing left to fit.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from transferbench import environment
from transferbench.data import Dataset
from transferbench.errors import TransferbenchError, WeightsError
from transferbench.evaluation.protocol import fit_split
from transferbench.evaluation.svm.apart import Apart
from transferbench.evaluation.svm.gram_store import GramStore
from transferbench.evaluation.svm.solvers import Solver, make_solver
from transferbench.home import Home
from transferbench.pipeline.check import check
from transferbench.pipeline.datasets import DataOptions, target
from transferbench.pipeline.evaluate import missing_blocks, name_of, without_skipped
from transferbench.pipeline.experiment import Line, experiment_of
from transferbench.pipeline.many import Outcome, Way, evaluate_many
from transferbench.pipeline.plan import variants
from transferbench.pipeline.stage import Stage, timed
from transferbench.progress import Progress, Silent, Within
from transferbench.recipe.transfer import Recipe, SolverName
from transferbench.reporting.result import find_equal

_CONNECT_TIMEOUT_S = 10
_LOOK_EVERY_S = 10
_START = "dask scheduler; on each machine: dask worker ADDRESS --nthreads 1 --no-nanny"
_ALIKE = ("transferbench", "numpy", "scipy", "scikit-learn", "numba")
# Lines of large datasets are tens of megabytes, which Dask would call a mistake.
_SETTINGS = {"distributed.admin.large-graph-warning-threshold": "1 GiB"}

Told = tuple[tuple[type[Warning], str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one worker does at a time: a split of a line.

    Parameters
    ----------
    line : Line
        All that fitting it takes but the descriptors, which are in the work folder.
    split : int
        Position among the line's.
    solver : SolverName
        How the SVMs are fitted.
    home : Home
        The work folder.
    software : dict of str to str
        As `software` found it where the result is made.
    """

    line: Line
    split: int
    solver: SolverName
    home: Home
    software: dict[str, str]

    @property
    def title(self) -> str:
        """Line and split, for a person."""
        of = self.line.of
        few = "" if of.train_per_class is None else f", {of.train_per_class} per class"
        return f"{self.line.variant.name}{few}, split {of.splits[self.split].name}"


def evaluate_on_cluster(
    experiments: Mapping[str, Recipe], home: Home, way: Way, scheduler: str, progress: Progress
) -> list[Outcome]:
    """Have the splits of recipes fitted by the workers of a Dask cluster, then make the results of them.

    Parameters
    ----------
    experiments : mapping of str to Recipe
        By name, as the user wrote it.
    home : Home
        The work folder, under the same path on every worker.
    way : Way
        How.
    scheduler : str
        Its address, for instance ``tcp://head:8786``.
    progress : Progress
        Told when a split is fitted.

    Returns
    -------
    list of Outcome
        In the same order.

    Raises
    ------
    TransferbenchError
        If Dask is not installed, no scheduler answers, or a worker cannot do its share.
    """
    with _connected(scheduler) as client:
        shares = _shares(experiments, home, way, progress)
        # Dask's own futures: joblib's Dask backend waits for ever where workers die (joblib 1.6).
        pending = {
            name: [(share, client.submit(fit_share, share, pure=False)) for share in mine]
            for name, mine in shares.items()
        }
        with progress.task("fitting splits on workers", sum(map(len, shares.values()))) as task:

            def elsewhere(name: str) -> Stage:
                with timed(Stage(f"fit {name_of(name)} on workers")) as stage:
                    for share, future in pending[name]:
                        _wait(client, share, future, progress)
                        task.advance(note=f"{name_of(name)}: {share.title}")
                return stage

            # Where this ends early, Dask forgets what no worker has begun.
            return evaluate_many(experiments, home, progress=Within(progress), way=way, elsewhere=elsewhere)


def software() -> dict[str, str]:
    """Tell what must be the same wherever splits of one result are fitted.

    Returns
    -------
    dict of str to str
        Versions of our code and of the libraries that decide the bits of a score.
    """
    found = environment.describe()
    return {name: found[name] for name in _ALIKE} | {"commit": environment.git_commit() or "none"}


def fit_share(share: Share) -> Told:
    """Fit a split on a worker, and keep it in the work folder; one that is there already is not fitted again.

    Parameters
    ----------
    share : Share
        Which.

    Returns
    -------
    tuple of pairs of a kind of warning and a text
        What a user must hear of, for instance SVMs that did not converge.

    Raises
    ------
    TransferbenchError
        With the worker's address.
    """
    from distributed import get_worker

    try:
        _refuse_other_software(share.software)
        with warnings.catch_warnings(record=True) as heard:
            _fit(share)
    except OSError as problem:
        msg = f"the worker {get_worker().address}: the system says: {problem.strerror}: {problem.filename}"
        raise TransferbenchError(msg) from problem
    except TransferbenchError as problem:
        msg = f"the worker {get_worker().address}: {problem}"
        raise TransferbenchError(msg) from problem
    return tuple((one.category, str(one.message)) for one in heard)


def _fit(share: Share) -> None:
    line, splits = share.line, share.line.of.splits
    solver = Apart(make_solver(share.solver, line.recipe.svm.loss, GramStore(share.home.grams)))
    fit_split(
        solver.prepare(line.features(), splits),
        share.split,
        splits[share.split],
        line.labels,
        line.of.Cs,
        line.average_precision,
        line.pieces(),
        line.variant.shuffle_seed,
    )


def _refuse_other_software(there: Mapping[str, str]) -> None:
    here = software()
    other = [f"{name} {here[name]} instead of {there[name]}" for name in here if here[name] != there[name]]
    if other:
        msg = f"it runs {', '.join(other)}: one result must not be of both.\n  Install the same everywhere."
        raise TransferbenchError(msg)


def _shares(experiments: Mapping[str, Recipe], home: Home, way: Way, progress: Progress) -> dict[str, list[Share]]:
    """List what is to be fitted; nothing of an experiment whose result is there, or that lacks something."""
    opened: dict[str, Dataset] = {}
    alike = software()
    for recipe in experiments.values():
        check(recipe)
    shares: dict[str, list[Share]] = {}
    for name, recipe in experiments.items():
        if recipe.dataset not in opened:
            opened[recipe.dataset] = target(recipe.dataset, home, DataOptions(way.data_dir, way.limit, progress))
        solver = Apart(make_solver(way.solver, recipe.svm.loss))
        lines = _lines(None if way.again else name_of(name), recipe, opened[recipe.dataset], home, solver)
        shares[name] = [
            Share(line=line, split=split, solver=way.solver, home=home, software=alike)
            for line in lines
            for split in range(len(line.of.splits))
        ]
    return shares


def _lines(name: str | None, recipe: Recipe, dataset: Dataset, home: Home, solver: Solver) -> tuple[Line, ...]:
    try:
        layout = variants(recipe, dataset, home)
    except WeightsError:
        return ()  # told of where the result is made
    if missing_blocks(layout):
        return ()
    experiment = experiment_of(recipe, without_skipped(layout, dataset, Silent()), layout, home, solver)
    there = find_equal(home.results, name, experiment.inputs_sha256)
    return experiment.every_line if there is None else ()


def _wait(client: Any, share: Share, future: Any, progress: Progress) -> None:
    """Wait for a split, and pass on what its worker says; raise where workers died, or keep it somewhere else."""
    from distributed import CancelledError, KilledWorker

    try:
        _until_done(client, future, progress)
        heard: Told = future.result()
    except KilledWorker as problem:
        msg = f"{share.title}: the workers that fitted it died one after the other, perhaps for lack of memory"
        raise TransferbenchError(msg) from problem
    except (CancelledError, OSError) as problem:  # a worker's own errors of the system come as ours
        msg = f"{share.title}: the Dask scheduler is gone.\n  Finished splits are kept; run the same command again."
        raise TransferbenchError(msg) from problem
    for category, text in heard:
        warnings.warn(f"{share.title}: {text}", category, stacklevel=2)
    if not share.line.pieces().has(share.split):
        msg = (
            f"{share.title}: its worker kept it in {share.line.unfinished}, and it is not there.\n"
            "  All workers must see the work folder under the same path as this machine."
        )
        raise TransferbenchError(msg)


def _until_done(client: Any, future: Any, progress: Progress) -> None:
    """Wait, however long it takes; say so where there is nobody to wait for."""
    from distributed import wait

    alone = False
    while not future.done():
        try:
            wait(future, timeout=_LOOK_EVERY_S)  # type: ignore[no-untyped-call]
        except TimeoutError:
            before, alone = alone, not client.ncores()
            if alone and not before:
                progress.say(f"no worker is connected; waiting for one.\n  {_START}")


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    try:
        import dask
        from distributed import Client
    except ModuleNotFoundError as problem:
        msg = "--scheduler needs Dask.\n  Run: pip install 'transferbench[distributed]'"
        raise TransferbenchError(msg) from problem
    try:
        client: Any = Client(scheduler, timeout=_CONNECT_TIMEOUT_S)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as problem:
        msg = f"no Dask scheduler answers at {scheduler}: {problem}\n  Start one: {_START}"
        raise TransferbenchError(msg) from problem
    with client, dask.config.set(_SETTINGS):
        yield client
