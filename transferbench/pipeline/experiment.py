"""A recipe with its descriptors, laid out as lines of a result; what one line takes can be sent to another machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from transferbench.data import Dataset
from transferbench.errors import EvaluationError
from transferbench.evaluation.aggregate import FeatureParts
from transferbench.evaluation.metrics import AveragePrecision
from transferbench.evaluation.svm.solvers import Solver
from transferbench.evaluation.targets import require_classes
from transferbench.home import Home
from transferbench.pipeline.features import features_of
from transferbench.pipeline.inputs import Round, inputs_sha256, rounds_of
from transferbench.pipeline.official import official_split
from transferbench.pipeline.pieces import StoredPieces, folder_of
from transferbench.pipeline.plan import Variant
from transferbench.recipe.transfer import Recipe
from transferbench.types.labels import Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a result: all that fitting and judging it takes.

    Parameters
    ----------
    number : int or "official"
        Of the line; ``"official"`` is the division that a server tests, which is no line.
    variant : Variant
        Whose blocks are complete.
    recipe : Recipe
        The experiment.
    ids : tuple of str
        Of all images that have descriptors.
    labels : ClassLabels or MultiLabels
        Theirs.
    average_precision : {"eleven_point", "area", "non_interpolated"}
        With several classes per image, the definition that chooses C.
    of : Round
        Splits, and values of C.
    unfinished : Path
        Where finished splits are kept until the result is there.
    """

    number: int | Literal["official"]
    variant: Variant
    recipe: Recipe
    ids: tuple[str, ...]
    labels: Labels
    average_precision: AveragePrecision
    of: Round
    unfinished: Path

    def features(self) -> FeatureParts:
        """Prepare the variant's features; nothing is read yet.

        Returns
        -------
        FeatureParts
            Of all images.
        """
        return features_of(self.variant, self.recipe, self.ids)

    def pieces(self) -> StoredPieces:
        """Open what is kept of this line.

        Returns
        -------
        StoredPieces
            Of its splits.
        """
        return StoredPieces(self.unfinished, self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is evaluated, line by line.

    Parameters
    ----------
    inputs_sha256 : str
        Of all that decides the scores.
    unfinished : Path
        Where finished splits are kept until the result is there.
    lines : tuple of Line
        In the order of the result.
    official : Line or None
        The recipe's own features on the division that a server tests, if there is one.
    """

    inputs_sha256: str
    unfinished: Path
    lines: tuple[Line, ...]
    official: Line | None

    @property
    def n_splits(self) -> int:
        """How many splits are to be fitted."""
        return sum(len(line.of.splits) for line in self.every_line)

    @property
    def every_line(self) -> tuple[Line, ...]:
        """All that is to be fitted, the official division last."""
        return self.lines if self.official is None else (*self.lines, self.official)


def refuse_empty_classes(recipe: Recipe, dataset: Dataset) -> None:
    """Refuse, before hours of extraction, divisions that no SVM could be fitted to or judged on.

    Parameters
    ----------
    recipe : Recipe
        The experiment.
    dataset : Dataset
        Its target.

    Raises
    ------
    DatasetError
        If it cannot be divided as its record or the recipe says.
    EvaluationError
        If a class has no image to fit on, to choose C on or to test on.
    """
    for one in rounds_of(recipe, dataset, dataset.splits()):
        for split in one.splits:
            try:
                require_classes(dataset.labels, split)
            except EvaluationError as problem:
                if dataset.limit is None:
                    raise
                msg = f"{problem}\n  Or take more images than --limit {dataset.limit}."
                raise EvaluationError(msg) from problem


def experiment_of(
    recipe: Recipe, dataset: Dataset, layout: tuple[Variant, ...], home: Home, solver: Solver
) -> Experiment:
    """Lay out what is evaluated.

    Parameters
    ----------
    recipe : Recipe
        The experiment.
    dataset : Dataset
        Its target, without images that have no descriptors.
    layout : tuple of Variant
        As `variants` returned it; all blocks are complete.
    home : Home
        The work folder.
    solver : Solver
        By its name and way.

    Returns
    -------
    Experiment
        Nothing is read yet.
    """
    rounds, official = rounds_of(recipe, dataset, dataset.splits()), official_split(dataset)
    inputs = inputs_sha256(recipe, layout, dataset, rounds, official, solver)
    unfinished = folder_of(home.results, inputs, solver.way)

    def line(number: int | Literal["official"], variant: Variant, of: Round) -> Line:
        definition = dataset.record.average_precision or "area"
        return Line(
            number=number,
            variant=variant,
            recipe=recipe,
            ids=dataset.ids,
            labels=dataset.labels,
            average_precision=definition,
            of=of,
            unfinished=unfinished,
        )

    pairs = [(variant, of) for variant in layout for of in rounds]
    return Experiment(
        inputs_sha256=inputs,
        unfinished=unfinished,
        lines=tuple(line(number, *pair) for number, pair in enumerate(pairs)),
        official=None if official is None else line("official", layout[0], Round(None, (official,), recipe.svm.C)),
    )
