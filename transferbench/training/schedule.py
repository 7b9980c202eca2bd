"""The learning rate as a function of what has happened: nothing of it needs to be saved."""

import math
from collections.abc import Sequence

from transferbench.pretraining import Cosine, Plateau, Schedule, Steps


def learning_rate(
    schedule: Schedule, start: float, *, step: int, steps_per_epoch: int, epochs: int, accuracies: Sequence[float]
) -> float:
    """Work out the rate of a step.

    Parameters
    ----------
    schedule : Schedule
        How the rate falls.
    start : float
        Rate of the first step.
    step : int
        Steps done since the start of the run.
    steps_per_epoch, epochs : int
        Length of the run.
    accuracies : sequence of float
        Held-out top-1 accuracy after every finished epoch.

    Returns
    -------
    float
        Of the next step.

    References
    ----------
    Simonyan & Zisserman (2015), Sect. 3.1.
    """
    match schedule:
        case Steps(drops=parts):
            epoch = step // steps_per_epoch
            return float(start * 0.1 ** sum(epoch >= round(part * epochs) for part in parts))
        case Plateau():
            return float(start * 0.1 ** drops_so_far(schedule, accuracies))
        case Cosine():
            return start * (1 + math.cos(math.pi * step / (steps_per_epoch * epochs))) / 2


def drops_so_far(schedule: Plateau, accuracies: Sequence[float]) -> int:
    """Count how often the accuracy has stopped improving.

    Parameters
    ----------
    schedule : Plateau
        Its patience.
    accuracies : sequence of float
        After every finished epoch.

    Returns
    -------
    int
        At most ``schedule.drops``. The best accuracy is kept over a drop; patience begins anew.
    """
    best, waited, drops = -math.inf, 0, 0
    for accuracy in accuracies:
        if accuracy > best + schedule.least:
            best, waited = accuracy, 0
        else:
            waited += 1
        if waited == schedule.patience and drops < schedule.drops:
            drops, waited = drops + 1, 0
    return drops
