"""One step of stochastic gradient descent, the same for any number of processes and any division of the batch."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from transferbench.training.batch import Batch
from transferbench.training.options import Execution, Precision, TrainingOptions
from transferbench.training.order import draws
from transferbench.training.processes import Processes, without_sum

_DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(device: str, precision: Precision) -> torch.autocast:
    """Let passes through a net compute in less than float32 where that is safe.

    Parameters
    ----------
    device : str
        Where the net is.
    precision : {"float32", "bfloat16", "float16"}
        Float32 changes nothing.

    Returns
    -------
    context manager
        For the forward pass and the loss.
    """
    return torch.autocast(device.partition(":")[0], _DTYPES[precision], enabled=precision != "float32")


class Descent:
    """A net, its gradient, and the momentum.

    Parameters
    ----------
    net : Module
        Takes crops (N, side, side, 3) as bytes, colour shifts (N, 3) and draws (N,) or None; gives (N, K) scores. On
        its device. Parameters that need no gradient stay as they are.
    options : TrainingOptions
        What the step is.
    execution : Execution
        How it is computed.
    processes : Processes
        Each brings its share of the batch.

    References
    ----------
    Simonyan & Zisserman (2015), Sect. 3.1 and 3.3.
    """

    def __init__(self, net: nn.Module, options: TrainingOptions, execution: Execution, processes: Processes) -> None:
        self.net = net
        self._options = options
        self._execution = execution
        self._processes = processes
        self._shared = processes.share(
            torch.compile(net) if execution.compiled else net,  # type: ignore[arg-type]  # is a module again
            execution.device,
        )
        # Fused, a GPU reads and writes weights once a step, and the scaler's look at the gradients waits for nobody.
        fused = True if execution.device.startswith("cuda") else None
        self._optimiser = torch.optim.SGD(
            _groups(net, options), lr=options.learning_rate, momentum=options.momentum, fused=fused
        )
        # Only float16 runs out of small numbers; for the others the scaler is an empty shell.
        self._scaler = torch.amp.GradScaler(
            execution.device.partition(":")[0], enabled=execution.precision == "float16"
        )
        average = get_ema_multi_avg_fn(options.ema) if options.ema is not None else None  # type: ignore[no-untyped-call]
        self._average = AveragedModel(net, multi_avg_fn=average) if average is not None else None

    @property
    def result(self) -> nn.Module:
        """The net that is measured and kept: the moving average where there is one."""
        return self._average.module if self._average is not None else self.net

    def step(self, parts: Sequence[Batch], n_images: int, epoch: int, rate: float, *, counted: bool = True) -> Tensor:
        """Go one step down.

        Parameters
        ----------
        parts : sequence of Batch
            This process's share, in parts that fit into memory.
        n_images : int
            Of the whole step, over all processes.
        epoch : int
            From 0; decides the dropout masks.
        rate : float
            Learning rate.
        counted : bool, default True
            Whether the share counts, see `parts_of_step`.

        Returns
        -------
        Tensor
            Sum of the cross-entropy over the share, on the device: nobody waits for it.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        self._shared.train()
        total = self._gradient(parts, n_images, epoch, 1.0 if counted else 0.0)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._optimiser.zero_grad()
        if self._average is not None:
            self._average.update_parameters(self.net)
        return total

    def gradient(self, parts: Sequence[Batch], n_images: int, epoch: int) -> dict[str, Tensor]:
        """Compute the gradient of a step without making it.

        Parameters
        ----------
        parts, n_images, epoch
            As for `step`.

        Returns
        -------
        dict of str to Tensor
            By name of the parameter, averaged over all images of the step; without weight decay.
        """
        self._shared.train()
        self._gradient(parts, n_images, epoch, 1.0)
        found = {n: p.grad.clone() for n, p in self.net.named_parameters() if p.grad is not None}
        self._optimiser.zero_grad()
        return found

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on, except for random numbers.

        Returns
        -------
        dict
            Tensors and plain values.
        """
        return {
            "net": self.net.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average.state_dict() if self._average is not None else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state.

        Parameters
        ----------
        state : dict
            As `state` returned it.
        """
        self.net.load_state_dict(state["net"])
        fused = self._optimiser.defaults["fused"]
        self._optimiser.load_state_dict(state["optimiser"])
        for group in self._optimiser.param_groups:
            group["fused"] = fused  # of this device, not of the one that made the checkpoint
        if self._scaler.is_enabled() and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def _gradient(self, parts: Sequence[Batch], n_images: int, epoch: int, weight: float) -> Tensor:
        total = torch.zeros((), device=self._execution.device)
        for number, part in enumerate(parts):
            if number < len(parts) - 1:
                with without_sum(self._shared):
                    total += self._backward(part, n_images, epoch, weight)
            else:
                total += self._backward(part, n_images, epoch, weight)
        return total

    def _backward(self, part: Batch, n_images: int, epoch: int, weight: float) -> Tensor:
        device = self._execution.device
        crops, shifts, labels = (t.to(device, non_blocking=True) for t in (part.crops, part.shifts, part.labels))
        numbers = None
        if self._options.image_draws:
            numbers = draws(self._options.seed, epoch, part.rows).to(device, non_blocking=True)
        with autocast(device, self._execution.precision):
            scores = self._shared(crops, shifts, numbers)
            loss = F.cross_entropy(
                scores.float(), labels, reduction="sum", label_smoothing=self._options.label_smoothing
            )
        # Gradients are averaged over processes, whose shares may differ in size: each brings its part of the mean over
        # the whole step, times the number by which the average will divide.
        self._scaler.scale(loss * (weight * self._processes.world / n_images)).backward()  # type: ignore[no-untyped-call]
        return loss.detach() * weight


def _groups(net: nn.Module, options: TrainingOptions) -> list[dict[str, Any]]:
    """Divide what is trained into weights and biases."""
    trained = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    weights = [p for name, p in trained if not name.endswith("bias")]
    biases = [p for name, p in trained if name.endswith("bias")]
    groups = [
        {"params": weights, "factor": 1.0, "weight_decay": options.weight_decay},
        {
            "params": biases,
            "factor": options.bias_rate,
            "weight_decay": options.weight_decay if options.bias_decay else 0.0,
        },
    ]
    return [group for group in groups if group["params"]]
