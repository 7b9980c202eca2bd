"""A pretraining experiment as a value: what may be asked for, not how it is done."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from transferbench.documents import Count, Document, Positive
from transferbench.pretraining import Modern, Schedule, ShortSides, Start
from transferbench.recipe.names import TABLE_1, DatasetName
from transferbench.recipe.nets import Net
from transferbench.types.preprocessing import Interpolation


class PretrainRecipe(Document):
    """A pretraining experiment; the paper's Sect. 3.1 in its own words."""

    version: Literal[1]
    dataset: DatasetName
    net: Net
    start: Start | None = None
    init: Literal["glorot", "normal", "literal"]
    train: Literal["all", "fc"] = "all"
    short_side: Count | ShortSides
    mean: tuple[float, float, float]
    interpolation: Interpolation
    flip: bool
    colour_shift: Annotated[float, Field(ge=0)] = 0.0
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    schedule: Schedule
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    bias_rate: Positive = 1.0
    bias_decay: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)]
    dropout_masks: Literal["image", "stream"] = "image"
    seed: int
    modern: Modern = Modern()

    @property
    def short_sides(self) -> tuple[int, int]:
        """The smallest and the largest S; equal where S is fixed."""
        if isinstance(self.short_side, ShortSides):
            return self.short_side.smallest, self.short_side.largest
        return self.short_side, self.short_side

    @model_validator(mode="after")
    def _crop_fits(self) -> "PretrainRecipe":
        if self.net.name not in TABLE_1:
            msg = f"only nets of Table 1 ({', '.join(TABLE_1)}) are pretrained here, not {self.net.name}"
            raise ValueError(msg)
        if self.short_sides[0] < self.net.crop:
            msg = f"short_side {self.short_sides[0]} is smaller than the crop of {self.net.crop} px"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _something_is_trained(self) -> "PretrainRecipe":
        if self.train == "fc" and self.start is None:
            msg = "train: fc leaves the convolutions as they are, so they need a start that has learnt something"
            raise ValueError(msg)
        return self
