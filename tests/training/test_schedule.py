import math

import numpy as np
import pytest
import torch

from transferbench.pretraining import Cosine, Plateau, Steps
from transferbench.training.schedule import drops_so_far, learning_rate


def rates(schedule, accuracies, *, start=0.01, steps_per_epoch=3):
    epochs = len(accuracies)
    return [
        learning_rate(
            schedule,
            start,
            step=step,
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
            accuracies=accuracies[: step // steps_per_epoch],
        )
        for step in range(epochs * steps_per_epoch)
    ]


def optimiser(rate=0.01):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("patience", [1, 3, 5])
def test_a_plateau_is_what_torch_takes_for_one(seed, patience):
    random = np.random.default_rng(seed)
    accuracies = np.minimum(0.7, np.cumsum(random.normal(0.01, 0.03, 60)).clip(0, 1)).tolist()
    theirs = optimiser()
    # Torch counts the epochs that are too many, and never stops dropping unless the rate has a lower end.
    reducing = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, mode="max", factor=0.1, patience=patience - 1, threshold=0.001, threshold_mode="abs", min_lr=1e-5
    )
    expected = []
    for accuracy in accuracies:
        expected += [theirs.param_groups[0]["lr"]] * 3
        reducing.step(accuracy)
    ours = rates(Plateau(kind="plateau", drops=3, patience=patience, least=0.001), accuracies)
    assert ours == pytest.approx(expected)


def test_a_plateau_by_hand():
    schedule = Plateau(kind="plateau", drops=2, patience=2, least=0.01)
    #            best  best  too little, worse -> drop, best, worse, worse -> drop, worse, worse: no third drop
    accuracies = [0.10, 0.20, 0.205, 0.19, 0.30, 0.29, 0.28, 0.1, 0.1, 0.1]
    assert [drops_so_far(schedule, accuracies[:n]) for n in range(11)] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]


def test_better_by_no_more_than_the_least_is_not_better():
    schedule = Plateau(kind="plateau", drops=3, patience=2, least=0.25)  # exact in binary
    assert drops_so_far(schedule, [0.25, 0.5, 0.5]) == 1
    assert drops_so_far(Plateau(kind="plateau", drops=3, patience=2, least=0.0), [0.5, 0.5, 0.5]) == 1


def test_the_papers_schedule_ends_at_a_thousandth_of_its_rate():
    schedule = Plateau(kind="plateau", drops=3, patience=5, least=0.001)
    found = rates(schedule, [0.5] * 74)
    assert sorted(set(found), reverse=True) == pytest.approx([1e-2, 1e-3, 1e-4, 1e-5])


def test_steps_are_taken_after_parts_of_the_epochs():
    found = rates(Steps(kind="steps", drops=(0.7, 0.9)), [0.0] * 10)
    assert found == pytest.approx([0.01] * 21 + [0.001] * 6 + [0.0001] * 3)


def test_half_a_cosine_is_that_of_torch():
    theirs = optimiser()
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=30)
    expected = []
    for _ in range(30):
        expected.append(theirs.param_groups[0]["lr"])
        theirs.step()
        annealing.step()
    found = rates(Cosine(kind="cosine"), [0.0] * 10)
    assert found == pytest.approx(expected)
    assert found[15] == pytest.approx(0.005)
    assert math.isclose(found[0], 0.01)
