"""What is evaluated, and the hash of all that decides its scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transferbench.data import Dataset
from transferbench.data.random_splits import low_shot_splits
from transferbench.pipeline.plan import Variant
from transferbench.recipe.files import to_dict
from transferbench.recipe.transfer import Recipe
from transferbench.types.identity import sha256_of
from transferbench.types.split import Split

if TYPE_CHECKING:
    from transferbench.evaluation.svm.solvers import Solver

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


def rounds_of(recipe: Recipe, dataset: Dataset, splits: Sequence[Split]) -> list[Round]:
    """List what is done with every variant: the splits as they are, or with every number of training images.

    Parameters
    ----------
    recipe : Recipe
        The experiment.
    dataset : Dataset
        Its target.
    splits : sequence of Split
        Of the dataset.

    Returns
    -------
    list of Round
        In the order of the lines of a result.
    """
    if recipe.low_shot is None:
        return [Round(None, tuple(splits), recipe.svm.C)]
    fixed = (recipe.low_shot.C_without_validation,)
    counted = [(n, low_shot_splits(dataset.record, dataset.labels, splits, n)) for n in recipe.low_shot.train_per_class]
    return [Round(n, few, recipe.svm.C if few[0].validation else fixed) for n, few in counted]


def require_rounds(recipe: Recipe, dataset: Dataset) -> None:
    """Find out before hours of work whether the images are enough for what a recipe asks.

    Parameters
    ----------
    recipe : Recipe
        The experiment.
    dataset : Dataset
        Its target.

    Raises
    ------
    DatasetError
        If `low_shot` asks for more images of a class than a split trains on.
    """
    if recipe.low_shot is not None:
        rounds_of(recipe, dataset, dataset.splits())


def inputs_sha256(
    recipe: Recipe,
    layout: tuple[Variant, ...],
    dataset: Dataset,
    rounds: Sequence[Round],
    official: Split | None,
    solver: "Solver",
) -> str:
    """Hash everything that decides the scores; the row that a recipe claims is not among it.

    Parameters
    ----------
    recipe : Recipe
        The experiment.
    layout : tuple of Variant
        As laid out.
    dataset : Dataset
        Its target.
    rounds : sequence of Round
        As `rounds_of` gave them.
    official : Split or None
        Of test images whose labels a server has.
    solver : Solver
        By its name.

    Returns
    -------
    str
        Results, and what is kept of interrupted evaluations, are found by it.
    """
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
