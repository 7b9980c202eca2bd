"""A transfer experiment as a value: what may be asked for, not how it is done."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from transferbench.documents import Count, Document, Positive
from transferbench.recipe.names import TABLE_1, DatasetName
from transferbench.recipe.nets import NetChoice
from transferbench.types.regions import REGIONS, Region
from transferbench.types.scales import Scales


class FeaturesOptions(Document):
    """What is extracted: one block of descriptors per net, scale and region."""

    nets: tuple[NetChoice, ...] = Field(min_length=1)
    scales: tuple[int, ...]
    flip: bool
    regions: tuple[Region, ...] = ("image",)

    @model_validator(mode="after")
    def _regions_ascend(self) -> "FeaturesOptions":
        if self.regions not in REGIONS:
            msg = "regions must be [image], [box] or [image, box]"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _scales_ascend_and_reach_the_crop(self) -> "FeaturesOptions":
        smallest = Scales(self.scales).sides_px[0]
        for net in self.nets:
            if net.name in TABLE_1 and net.layer != "pool5" and smallest < net.crop:
                msg = (
                    f"scale {smallest} is smaller than the crop of net {net.name}, so its dense form has "
                    f"no position; use {net.crop} or more"
                )
                raise ValueError(msg)
        return self


L2 = Literal["none", "block", "global", "both"]


class Stack(Document):
    """Put the scales side by side."""

    kind: Literal["stack"]
    l2: L2


class Average(Document):
    """Average over the scales of a net."""

    kind: Literal["average"]
    l2: L2


class Max(Document):
    """Take, in every dimension, the largest value over the scales of a net."""

    kind: Literal["max"]
    l2: L2


Aggregation = Annotated[Stack | Average | Max, Field(discriminator="kind")]

SolverName = Literal["auto", "gram", "rows", "liblinear"]
"""How SVMs are fitted. No part of a recipe: all of them go to the same optimum."""


class SvmOptions(Document):
    """One-vs-rest linear SVM with LIBLINEAR's objective; C is chosen on the validation part of each split."""

    loss: Literal["squared_hinge", "hinge"]
    C: tuple[Positive, ...] = Field(min_length=1)
    selection: Literal["validation"]

    @model_validator(mode="after")
    def _grid_ascends(self) -> "SvmOptions":
        if list(self.C) != sorted(set(self.C)):
            msg = f"C must ascend without repeats, got {', '.join(f'{c:g}' for c in self.C)}"
            raise ValueError(msg)
        return self


class RandomWeightsFloor(Document):
    """The same nets before any training."""

    kind: Literal["random_weights"]
    seed: int


class ShuffledLabelsFloor(Document):
    """The same features, trained on labels that belong to other training images."""

    kind: Literal["shuffled_labels"]
    seed: int


class RawPixelsFloor(Document):
    """The same SVM on the pixels of the image, rescaled to a small square."""

    kind: Literal["raw_pixels"]
    side: Count


Floor = Annotated[RandomWeightsFloor | ShuffledLabelsFloor | RawPixelsFloor, Field(discriminator="kind")]


class LowShot(Document):
    """A curve over the number of training images of every class.

    Of each count a fifth chooses C. Where that leaves nothing, at one image per class, C is `C_without_validation`.
    """

    train_per_class: tuple[Count, ...] = Field(min_length=1)
    C_without_validation: Positive

    @model_validator(mode="after")
    def _counts_ascend(self) -> "LowShot":
        if list(self.train_per_class) != sorted(set(self.train_per_class)):
            msg = f"train_per_class must ascend without repeats, got {', '.join(map(str, self.train_per_class))}"
            raise ValueError(msg)
        return self


class Recipe(Document):
    """A transfer experiment: dataset, features, aggregation, SVM, and the row it claims."""

    version: Literal[1]
    dataset: DatasetName
    features: FeaturesOptions
    aggregate: Aggregation
    svm: SvmOptions
    floors: tuple[Floor, ...] = ()
    low_shot: LowShot | None = None
    claims: str | None
