"""Parts of a pretraining recipe: how the rate falls, where the weights come from, what is added to the paper's way."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from transferbench.documents import Count, Document, Fraction

FIRST_AND_LAST = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8")
"""What nets B to E take from net A: its first four convolutions, which stand at the beginning of its blocks, and its
fully connected layers. Counted by position the shapes do not fit: the second convolution of B has 64 channels, that of
A has 128. (Simonyan & Zisserman, 2015, Sect. 3.1)"""


class Plateau(Document):
    """Divide the rate by 10 when the held-out top-1 accuracy has stopped improving; the paper's schedule.

    An epoch improves when it is better than the best one so far by `least` (0.001 is a tenth of a per cent); after
    `patience` epochs in a row that do not, the rate falls, up to `drops` times. The paper did this by eye.
    """

    kind: Literal["plateau"]
    drops: Count
    patience: Count
    least: Annotated[float, Field(ge=0, lt=1)]


class Steps(Document):
    """Divide the rate by 10 when given parts of the epochs are done."""

    kind: Literal["steps"]
    drops: tuple[Fraction, ...]


class Cosine(Document):
    """Let the rate fall to zero along half a cosine, step by step. Not the paper's."""

    kind: Literal["cosine"]


Schedule = Annotated[Plateau | Steps | Cosine, Field(discriminator="kind")]


class Start(Document):
    """Begin with the weights of another pretraining instead of fresh ones."""

    recipe: str
    layers: Literal["all", "first_and_last"]


class Modern(Document):
    """What the paper does not do, all of it off unless asked for.

    `label_smoothing` spreads that part of the target over all classes; `ema` is the decay, per step, of an exponential
    moving average of the weights, which is then what is measured and kept.
    """

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ema: Fraction | None = None


class ShortSides(Document):
    """A range of short sides, both ends included: the paper's scale jittering [256; 512]."""

    smallest: Count
    largest: Count

    @model_validator(mode="after")
    def _ascend(self) -> "ShortSides":
        if self.largest <= self.smallest:
            msg = f"largest must be more than smallest, got {self.smallest} and {self.largest}"
            raise ValueError(msg)
        return self
