"""How a net is trained (this can change the weights) and how it is carried out (this only changes the time)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch

from transferbench.errors import DeviceError
from transferbench.pretraining import Schedule

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How to train; every value can change the weights.

    Parameters
    ----------
    epochs, batch_size : int
        How long, and on how many images one step of the descent is made, over all processes together.
    learning_rate : float
        At the start.
    schedule : Schedule
        How the rate falls.
    momentum, weight_decay : float
        Of the gradient descent. The decay is added to the gradient (an L2 penalty of half the decay times the squared
        length), so it is multiplied by the rate and enters the momentum.
    bias_rate : float, default 1.0
        Factor on the learning rate of biases; Caffe's models had 2.
    bias_decay : bool, default True
        Whether biases decay like weights.
    image_draws : bool, default True
        Whether an image's dropout masks follow from seed, epoch and row, and so not from the number of processes.
    label_smoothing : float, default 0.0
        Part of the target that is spread over all classes.
    ema : float or None, default None
        Decay per step of a moving average of the weights, which is then measured and kept.
    seed : int
        Of order and dropout.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: Schedule
    momentum: float
    weight_decay: float
    bias_rate: float = 1.0
    bias_decay: bool = True
    image_draws: bool = True
    label_smoothing: float = 0.0
    ema: float | None = None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How a training is carried out.

    Parameters
    ----------
    folder : Path
        Gets the checkpoints and ``metrics.csv``, from the first process.
    device : str
        A torch device.
    precision : {"float32", "bfloat16", "float16"}, default "float32"
        Of the passes through the net; weights, gradients' sums and the descent stay in float32.
    compiled : bool, default False
        Whether torch compiles the net first.
    images_at_once : int, optional
        The most that one process sends through the net at once; gradients are added up to the batch. All of its share
        when not given.
    save_every_steps : int, optional
        Steps between checkpoints, besides one after every epoch.
    save_every_s : float, default 600
        Seconds after which the first process asks for a checkpoint.
    """

    folder: Path
    device: str
    precision: Precision = "float32"
    compiled: bool = False
    images_at_once: int | None = None
    save_every_steps: int | None = None
    save_every_s: float = 600.0


def prepare_device(device: str, precision: Precision) -> None:
    """Set what torch keeps for the whole process.

    Parameters
    ----------
    device : str
        A torch device; nothing is set for a CPU.
    precision : {"float32", "bfloat16", "float16"}
        Float32 means it: convolutions do not go by TensorFloat-32, which has 10 bits of 23.
    """
    if device.startswith("cuda"):
        # All crops are of one size, so the search for the fastest algorithm pays; it finds others from run to run.
        torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()
        torch.backends.cudnn.allow_tf32 = precision != "float32"


def choose_precision(asked: str, device: str) -> Precision:
    """Turn ``--precision`` into one.

    Parameters
    ----------
    asked : str
        ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    device : str
        A torch device.

    Returns
    -------
    {"float32", "bfloat16", "float16"}
        ``auto`` is bfloat16 on GPUs that compute in it, and float32 elsewhere.

    Raises
    ------
    DeviceError
        If float16 is asked for on a CPU, which has no gain from it.
    """
    gpu = device.startswith("cuda")
    if asked == "auto":
        return "bfloat16" if gpu and torch.cuda.is_bf16_supported() else "float32"
    if asked == "float16" and not gpu:
        msg = "--precision float16 is for GPUs; on a CPU take float32, or bfloat16 where it has instructions for it"
        raise DeviceError(msg)
    return cast("Precision", asked)
