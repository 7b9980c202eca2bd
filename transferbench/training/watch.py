"""Who looks on while a net is trained: curves, tables, or nobody."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """What a few steps of the descent looked like.

    Parameters
    ----------
    step : int
        Steps done since the start of the run.
    epoch : float
        Passes over the images done, parts of one included.
    loss : float
        Mean cross-entropy of the images since the last line.
    learning_rate : float
        Of the last step.
    images_per_s : float
        Of all processes together, since the last line.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    images_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One line of a run's history.

    Parameters
    ----------
    epoch : int
        From 1.
    loss : float
        Mean cross-entropy over the epoch's crops.
    accuracy : float
        Top-1 of the held-out images' centre crops after the epoch, in [0, 1].
    top5 : float
        The same for the five highest scores (all of them where there are fewer classes).
    learning_rate : float
        Of the epoch's last step.
    """

    epoch: int
    loss: float
    accuracy: float
    top5: float
    learning_rate: float


class Watch(Protocol):
    """Told what happens; decides nothing. Only the first process of several has one that does something."""

    def step(self, line: StepLine) -> None:
        """Take note of a few steps.

        Parameters
        ----------
        line : StepLine
            After a resume, steps since the checkpoint come once more.
        """

    def epoch(self, line: Epoch) -> None:
        """Take note of a finished epoch.

        Parameters
        ----------
        line : Epoch
            After a resume, an epoch that was not saved comes once more.
        """


class Nobody:
    """Looks away."""

    def step(self, line: StepLine) -> None:
        """Do nothing; see `Watch.step`."""

    def epoch(self, line: Epoch) -> None:
        """Do nothing; see `Watch.epoch`."""
