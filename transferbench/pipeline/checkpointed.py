"""Weights out of the checkpoint of a pretraining, whether it goes on or not."""

from pathlib import Path

from transferbench.errors import WeightsError
from transferbench.nets.importing import stamped
from transferbench.nets.modules import VGG
from transferbench.nets.weights import Weights, from_net
from transferbench.training.checkpoint import read_checkpoint
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing


def weights_of_checkpoint(path: Path) -> Weights:
    """Take the weights out of a checkpoint.

    Parameters
    ----------
    path : Path
        ``checkpoint-<step>.pt`` or ``checkpoint-best.pt`` of a run's folder.

    Returns
    -------
    Weights
        The moving average where the run keeps one. Their origin tells epoch, step and accuracy.

    Raises
    ------
    WeightsError
        If the file is missing, damaged or no checkpoint of ours.
    """
    try:
        state = read_checkpoint(path)
        if state is None:
            msg = "its hash is wrong"
            raise ValueError(msg)
        about, history = state["about"], state["history"]
        net = VGG(NetSpec(**about["net"]))
        average = {key.removeprefix("module."): tensor for key, tensor in (state["average"] or {}).items()}
        tensors = average or state["net"]
        net.load_state_dict({key.removeprefix("net."): t for key, t in tensors.items() if key.startswith("net.")})
        preprocessing = Preprocessing.from_dict(about["preprocessing"])
    except (OSError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as problem:
        msg = f"{path}: is damaged or no checkpoint of tb pretrain: {problem}"
        raise WeightsError(msg) from problem
    origin = {**about["origin"], "epoch": len(history), "step": state["position"]["step"]}
    origin |= {"held_out_accuracy": history[-1]["accuracy"]} if history else {}
    return stamped(from_net(net, preprocessing, tuple(about["classes"]), origin))
