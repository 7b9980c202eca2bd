"""`tb run`: all stages of a recipe, each only as far as it is not done yet."""

from pathlib import Path

from transferbench.home import Home
from transferbench.pipeline.chain import Link
from transferbench.pipeline.check import check
from transferbench.pipeline.datasets import WHOLE, DataOptions, target
from transferbench.pipeline.engines import AUTO, EngineOptions, refuse_contradictions
from transferbench.pipeline.evaluate import evaluate_recipe
from transferbench.pipeline.experiment import refuse_empty_classes
from transferbench.pipeline.extract import extract_recipe
from transferbench.pipeline.pretrain import pretrain
from transferbench.pipeline.report import Report, report
from transferbench.pipeline.shards import OnBadImage
from transferbench.pipeline.stage import Stage
from transferbench.progress import Progress
from transferbench.recipe.files import load
from transferbench.recipe.nets import RunWeights
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.recipe.transfer import Recipe, SolverName


def run(
    asked: str,
    recipe: Recipe,
    home: Home,
    *,
    device: str,
    progress: Progress,
    data: DataOptions = WHOLE,
    solver: SolverName = "auto",
    engine: EngineOptions = AUTO,
    on_bad_image: OnBadImage = "stop",
) -> Report:
    """Pretrain, extract, evaluate and report.

    Parameters
    ----------
    asked : str
        The recipe as the user named it: a shipped name, or a path whose stem is the name.
    recipe : Recipe
        The experiment.
    home : Home
        The work folder.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    progress : Progress
        Told what happens.
    data : DataOptions
        Where the target's images are, and how many are wanted.
    solver : {"auto", "gram", "rows", "liblinear"}
        How the SVMs are fitted.
    engine : EngineOptions
        How descriptors are computed; pretraining has options of its own.
    on_bad_image : {"stop", "skip"}
        What to do about an image that cannot be decoded.

    Returns
    -------
    Report
        Of a result that is stored.
    """
    check(recipe)
    refuse_contradictions(device, engine)
    dataset = target(recipe.dataset, home, data)  # before hours of pretraining: is it there, and whole?
    refuse_empty_classes(recipe, dataset)
    stages: list[Stage] = []
    for needed in dict.fromkeys(
        name for net in recipe.features.nets if isinstance(net.weights, RunWeights) and (name := net.weights.trained_by)
    ):
        link = Link(Path(needed).stem, load(needed, PretrainRecipe))
        _, stage = pretrain(link, home, device=device, progress=progress)
        stages.append(stage)
    stages.append(
        extract_recipe(
            recipe, dataset, home, device=device, progress=progress, engine=engine, on_bad_image=on_bad_image
        )
    )
    folder, _ = evaluate_recipe(asked, recipe, dataset, home, progress=progress, before=stages, solver=solver)
    return report(home, folder, data)
