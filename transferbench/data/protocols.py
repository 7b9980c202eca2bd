"""The protocols by which a dataset is divided, as its record states them, each with a sentence for people."""

from typing import Annotated, Literal

from pydantic import Field

from transferbench.documents import Count, Document, Fraction, Sha256


class RandomSplits(Document):
    """Several random divisions into training and test images, the same number of training images from every class."""

    kind: Literal["random_splits"]
    splits: Count
    seed: int
    train_per_class: Count
    test_per_class: Count | None
    validation_fraction: Fraction
    sha256: tuple[Sha256, ...] | None = None

    def sentence(self) -> str:
        """Say the protocol in words.

        Returns
        -------
        str
            Without a full stop.
        """
        rest = "the rest" if self.test_per_class is None else f"up to {self.test_per_class}"
        return (
            f"{self.splits} random splits (seed {self.seed}), {self.train_per_class} training images "
            f"per class, {rest} to test, "
            f"{self.validation_fraction:.0%} of training to choose C"
        )


class FixedSplit(Document):
    """One division, by the lists that come with the data."""

    kind: Literal["fixed_split"]
    fit: str
    validation: str
    test: str

    def sentence(self) -> str:
        """Say the protocol in words.

        Returns
        -------
        str
            Without a full stop.
        """
        return f"fit on {self.fit}, choose C on {self.validation}, train on both, test on {self.test}"


class TrainTest(Document):
    """One division by two lists; C is chosen on a random part of the training images."""

    kind: Literal["train_test"]
    train: str
    test: str
    validation_fraction: Fraction
    seed: int

    def sentence(self) -> str:
        """Say the protocol in words.

        Returns
        -------
        str
            Without a full stop.
        """
        return (
            f"train on {self.train} ({self.validation_fraction:.0%} of it, seed {self.seed}, to choose C), "
            f"test on {self.test}"
        )


class ServerTest(Document):
    """Test labels only the organisers have; the local number is another one and is called so."""

    kind: Literal["server_test"]
    fit: str
    validation: str
    test: str
    competition: str
    local: TrainTest

    def sentence(self) -> str:
        """Say the protocol in words.

        Returns
        -------
        str
            Without a full stop.
        """
        return (
            f"official: fit on {self.fit}, choose C on {self.validation}, train on both, submit {self.test} to the "
            f"server as {self.competition}; local (another number): {self.local.sentence()}"
        )


class Pretraining(Document):
    """A dataset to pretrain on: images to train on, and images to watch."""

    kind: Literal["pretraining"]
    training: str
    held_out: str

    def sentence(self) -> str:
        """Say the protocol in words.

        Returns
        -------
        str
            Without a full stop.
        """
        return f"train on {self.training}, watch {self.held_out}"


Protocol = Annotated[
    RandomSplits | FixedSplit | TrainTest | ServerTest | Pretraining,
    Field(discriminator="kind"),
]


def protocol_parts(protocol: Protocol) -> tuple[str, ...]:
    """List the parts of a dataset that a protocol names.

    Parameters
    ----------
    protocol : Protocol
        Any kind.

    Returns
    -------
    tuple of str
        In the order of use; empty for random splits.
    """
    match protocol:
        case FixedSplit():
            return protocol.fit, protocol.validation, protocol.test
        case TrainTest():
            return protocol.train, protocol.test
        case ServerTest():
            return protocol.fit, protocol.validation, protocol.test
        case Pretraining():
            return protocol.training, protocol.held_out
        case _:
            return ()
