"""Which net a recipe asks for, and where its weights come from."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from transferbench.documents import Document
from transferbench.recipe.names import TABLE_1, NetName
from transferbench.types.net import NetSpec

Layer = Literal["fc7", "fc6", "pool5"]
BEST = "@best"
"""Ends the name of a run or recipe where the weights of the best epoch are meant, not the last."""

_RUN = re.compile(r"[^/]+-[0-9a-f]{8}")


class Net(Document):
    """Which net, and how far it is shrunk; the paper's size unless said otherwise."""

    name: NetName
    width: float = 1.0
    crop: int = 224

    @model_validator(mode="after")
    def _sizes_fit(self) -> "Net":
        self.spec(n_classes=1000)
        return self

    def spec(self, n_classes: int) -> NetSpec:
        """Return the run-time value.

        Parameters
        ----------
        n_classes : int
            Outputs of fc8, which the source dataset decides.

        Returns
        -------
        NetSpec
            With the paper's pooling.
        """
        return NetSpec(name=self.name, width=self.width, crop=self.crop, n_classes=n_classes)


class RunWeights(Document):
    """Weights of our own pretraining: a recipe's newest run, or a run's folder; with ``@best`` of the best epoch."""

    kind: Literal["run"]
    recipe: str

    @property
    def trained_by(self) -> str | None:
        """The pretraining recipe that makes them; None where a run is named by its folder: it is there, or is not."""
        name = self.recipe.removesuffix(BEST)
        return None if _RUN.fullmatch(name) else name


class NamedWeights(Document):
    """Weights that were fetched or imported (`tb weights list`)."""

    kind: Literal["named"]
    name: str


class FileWeights(Document):
    """Weights in a file of ours."""

    kind: Literal["file"]
    path: str


class RandomWeights(Document):
    """Weights as they are before any training: a floor."""

    kind: Literal["random"]
    seed: int = 0


class DefaultWeights(Document):
    """The best weights of that net that are in the work folder."""

    kind: Literal["default"]


WeightsChoice = Annotated[
    RunWeights | NamedWeights | FileWeights | RandomWeights | DefaultWeights, Field(discriminator="kind")
]


class NetChoice(Net):
    """A net together with its weights."""

    weights: WeightsChoice
    layer: Layer | None = None

    @model_validator(mode="after")
    def _only_table_1_has_layers(self) -> "NetChoice":
        if self.layer is not None and self.name not in TABLE_1:
            msg = f"layer is for the nets of Table 1; {self.name} has but one, its last features"
            raise ValueError(msg)
        return self
