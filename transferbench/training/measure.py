"""Accuracy on held-out images while a net is trained."""

import numpy as np
import torch
from torch import Tensor, nn

from transferbench.training.batch import Crops
from transferbench.training.descent import autocast
from transferbench.training.options import Execution
from transferbench.training.processes import Processes

TOP = 5


def held_out_accuracy(
    net: nn.Module, images: Crops, *, at_once: int, execution: Execution, processes: Processes
) -> tuple[float, float]:
    """Measure top-1 and top-5 accuracy on centre crops.

    Parameters
    ----------
    net : Module
        As for `Descent`; put into evaluation mode.
    images : Crops
        Every one is looked at by one process and counted once.
    at_once : int
        Images per pass.
    execution : Execution
        Device and precision.
    processes : Processes
        Share the work.

    Returns
    -------
    tuple of float
        In [0, 1], the same in all processes.
    """
    net.eval()
    mine = np.arange(processes.rank, len(images), processes.world)
    right = torch.zeros(2, dtype=torch.float64, device=execution.device)
    with torch.inference_mode(), autocast(execution.device, execution.precision):
        for batch in images.batches([mine[i : i + at_once] for i in range(0, len(mine), at_once)], None):
            crops, labels = (t.to(execution.device, non_blocking=True) for t in (batch.crops, batch.labels))
            better = better_classes(net(crops, None, None).float(), labels)
            right += torch.stack([(better < 1).sum(), (better < TOP).sum()])
    top1, top5 = (processes.sum(right) / len(images)).tolist()
    return top1, top5


def better_classes(scores: Tensor, labels: Tensor) -> Tensor:
    """Count the classes that stand before the true one.

    Parameters
    ----------
    scores : Tensor of shape (N, K)
        Any order of magnitude.
    labels : Tensor of shape (N,), int64
        True classes.

    Returns
    -------
    Tensor of shape (N,), int64
        Of equal scores the one of the smaller number stands first. A score that is not a number is never right: then K.
    """
    true = scores.gather(1, labels[:, None])
    numbers = torch.arange(scores.shape[1], device=scores.device)
    before = (scores > true) | ((scores == true) & (numbers < labels[:, None]))
    return torch.where(scores.isnan().any(dim=1), scores.shape[1], before.sum(dim=1))
