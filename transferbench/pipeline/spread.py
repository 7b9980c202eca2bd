"""Several experiments at a time: whole ones in processes of this machine, or their splits on the workers of a cluster.

On one machine whole experiments are what is spread. The splits of one share the Gram matrix of all their images, and
every product with it uses all cores, so there is nothing to gain from splits in processes of their own. Several
machines share no memory: there each split goes to a worker, with the Gram matrix of its own images.
"""

from collections.abc import Mapping

from transferbench.environment import cores, share_with
from transferbench.home import Home
from transferbench.pipeline.cluster import evaluate_on_cluster
from transferbench.pipeline.many import Outcome, Way, evaluate_many
from transferbench.progress import Progress, Silent
from transferbench.recipe.transfer import Recipe


def evaluate_spread(
    experiments: Mapping[str, Recipe],
    home: Home,
    way: Way,
    *,
    scheduler: str | None = None,
    jobs: int = 1,
    progress: Progress,
) -> list[Outcome]:
    """Evaluate several recipes at a time; one that lacks weights or descriptors does not stop the others.

    Parameters
    ----------
    experiments : mapping of str to Recipe
        By name, as the user wrote it.
    home : Home
        The work folder, under the same path on every worker: finished splits and kept Gram matrices go there.
    way : Way
        How.
    scheduler : str, optional
        A Dask scheduler's address, for instance ``tcp://head:8786``: each split goes to one of its workers.
    jobs : int
        Without a scheduler: processes on this machine, which divide its cores and its memory among them.
    progress : Progress
        Told when a split, or without a scheduler an experiment, is done.

    Returns
    -------
    list of Outcome
        In the same order.

    Raises
    ------
    TransferbenchError
        If Dask is not installed, no scheduler answers, or a worker cannot do its share.
    """
    if scheduler is not None:
        return evaluate_on_cluster(experiments, home, way, scheduler, progress)
    return _in_processes(experiments, home, way, jobs, progress)


def _in_processes(
    experiments: Mapping[str, Recipe], home: Home, way: Way, jobs: int, progress: Progress
) -> list[Outcome]:
    from joblib import Parallel, delayed, parallel_config

    processes = max(1, min(jobs, len(experiments)))
    outcomes: list[Outcome] = []
    with (
        progress.task("evaluating", len(experiments)) as task,
        parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=max(1, cores() // processes)),
    ):
        work = (delayed(_evaluate)(name, recipe, home, way, processes) for name, recipe in experiments.items())
        for outcome in Parallel(return_as="generator")(work):
            outcomes.append(outcome)
            task.advance(note=outcome.name)
    return outcomes


def _evaluate(name: str, recipe: Recipe, home: Home, way: Way, processes: int) -> Outcome:
    share_with(processes)
    (outcome,) = evaluate_many({name: recipe}, home, progress=Silent(), way=way)
    return outcome
