"""Beginning with the weights of another net: layers are copied by name, and nothing is copied that does not fit."""

import torch

from transferbench.errors import WeightsError
from transferbench.nets import vgg
from transferbench.nets.modules import VGG
from transferbench.nets.weights import Weights


def copy_layers(net: VGG, weights: Weights, names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Copy weights and biases of layers into a net.

    Parameters
    ----------
    net : VGG
        Changed in place.
    weights : Weights
        Where they come from.
    names : tuple of str or None
        Layers as ``conv1_1`` or ``fc6``; all of the net when None.

    Returns
    -------
    tuple of str
        The layers that were copied, in the order of the net.

    Raises
    ------
    WeightsError
        If a layer is missing on one side, or of another shape.
    """
    layers = [layer.name for layer in vgg.weight_layers(net.spec) if names is None or layer.name in names]
    lacking = sorted({*(names or ()), *layers} - {key.partition(".")[0] for key in weights.state})
    if names is None:
        lacking += sorted({key.partition(".")[0] for key in weights.state} - set(layers))
    lacking += sorted(set(names or ()) - set(layers))
    if lacking:
        msg = f"{net.spec} cannot start from {weights.header.net}: only one of them has {', '.join(lacking)}"
        raise WeightsError(msg)
    for layer in layers:
        for key in (f"{layer}.weight", f"{layer}.bias"):
            ours, theirs = net.get_parameter(key), weights.state[key]
            if ours.shape != theirs.shape:
                msg = (
                    f"{net.spec} cannot start from {weights.header.net}: {key} is {tuple(theirs.shape)} there and "
                    f"{tuple(ours.shape)} here. Width, crop and classes of both must be the same."
                )
                raise WeightsError(msg)
            with torch.no_grad():
                ours.copy_(theirs)
    return tuple(layers)


def freeze_convolutions(net: VGG) -> None:
    """Leave only the fully connected layers to be trained.

    Parameters
    ----------
    net : VGG
        Changed in place.
    """
    for block in vgg.blocks(net.spec):
        for layer in block:
            net.get_parameter(f"{layer.name}.weight").requires_grad_(False)  # noqa: FBT003 - torch's own
            net.get_parameter(f"{layer.name}.bias").requires_grad_(False)  # noqa: FBT003 - torch's own
