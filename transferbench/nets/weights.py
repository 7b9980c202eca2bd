"""Weights as a value and as a file: safetensors with one JSON header, checked whenever it is read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from transferbench.errors import WeightsError
from transferbench.files import publish
from transferbench.nets import fit, vgg
from transferbench.nets.backbones import Backbone, PooledNet
from transferbench.nets.header import METADATA_KEY, WeightsHeader, read_header
from transferbench.nets.modules import VGG, initialise
from transferbench.nets.opening import open_backbone, seeded
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

State = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """A net's tensors with all that is needed to use them.

    Parameters
    ----------
    header : WeightsHeader
        The net, its input, its classes and its origin.
    state : dict of str to Tensor
        float32, on the CPU, under the keys of `VGG`.
    """

    header: WeightsHeader
    state: State

    def build(self) -> VGG:
        """Make a net of Table 1.

        Returns
        -------
        VGG
            In evaluation mode, holding these weights.

        Raises
        ------
        WeightsError
            If they are those of another net; see `build_any`.
        """
        if self.header.net.name not in vgg.TABLE_1:
            msg = f"net {self.header.net.name} is not one of Table 1"
            raise WeightsError(msg)
        with torch.device("meta"):
            net = VGG(self.header.net)
        net.load_state_dict(self.state, assign=True)
        return net.eval()

    def build_any(self) -> VGG | PooledNet:
        """Make the net, of Table 1 or another.

        Returns
        -------
        VGG or PooledNet
            In evaluation mode, holding these weights.

        Raises
        ------
        WeightsError
            If the library or plugin that makes the net has changed, so that they fit no more.
        """
        if self.header.net.name in vgg.TABLE_1:
            return self.build()
        backbone = open_backbone(self.header.net.name, pretrained=False)
        if (backbone.layer, backbone.positions) != (self.header.layer, self.header.positions):
            msg = f"net {self.header.net.name} gives {backbone.layer}, {backbone.positions} now; fetch its weights anew"
            raise WeightsError(msg)
        try:
            backbone.module.load_state_dict(self.state)
        except RuntimeError as problem:
            msg = f"the weights do not fit net {self.header.net.name} as it is made now: {problem}"
            raise WeightsError(msg) from problem
        return PooledNet(backbone)


def from_backbone(name: str, backbone: Backbone, origin: dict[str, Any], label: str) -> Weights:
    """Take the weights out of a net that is not of Table 1.

    Parameters
    ----------
    name : str
        Of the net.
    backbone : Backbone
        With its weights.
    origin : dict
        JSON values: how they were made.
    label : str
        For people.

    Returns
    -------
    Weights
        A copy, statistics of normalisation layers included.
    """
    state = {key: value.detach().cpu().contiguous().clone() for key, value in backbone.module.state_dict().items()}
    header = WeightsHeader(
        net=backbone.spec(name),
        preprocessing=backbone.preprocessing,
        classes=tuple(map(str, range(backbone.n_classes))),
        class_order="unknown",
        origin=origin,
        sha256=state_sha256(state),
        label=label,
        layer=backbone.layer,
        positions=backbone.positions,
    )
    return Weights(header=header, state=state)


def from_net(net: VGG, preprocessing: Preprocessing, classes: tuple[str, ...], origin: dict[str, Any]) -> Weights:
    """Take the weights out of a net.

    Parameters
    ----------
    net : VGG
        Any device.
    preprocessing : Preprocessing
        What it was trained with.
    classes : tuple of str
        In the order of its outputs.
    origin : dict
        JSON values: how it was made.

    Returns
    -------
    Weights
        A copy.
    """
    state = {
        name: tensor.detach().to("cpu", torch.float32).contiguous().clone() for name, tensor in net.state_dict().items()
    }
    header = WeightsHeader(
        net=net.spec, preprocessing=preprocessing, classes=classes, origin=origin, sha256=state_sha256(state)
    )
    return Weights(header=header, state=state)


def random_weights(spec: NetSpec, preprocessing: Preprocessing, *, seed: int) -> Weights:
    """Make the weights of a net that has learnt nothing: a floor for transfer.

    Parameters
    ----------
    spec : NetSpec
        The net.
    preprocessing : Preprocessing
        That of the trained weights they are compared with.
    seed : int
        Of the Glorot initialisation; another net than those of Table 1 has its own initialisation, and its own
        preprocessing too.

    Returns
    -------
    Weights
        The same for the same seed.
    """
    if spec.name not in vgg.TABLE_1:
        origin = {"kind": "random", "init": "own", "seed": seed}
        return from_backbone(spec.name, seeded(spec.name, seed), origin, "random weights")
    net = VGG(spec)
    initialise(net, "glorot", seed)
    return from_net(
        net, preprocessing, tuple(map(str, range(spec.n_classes))), {"kind": "random", "init": "glorot", "seed": seed}
    )


def state_sha256(state: State) -> str:
    """Hash tensors.

    Parameters
    ----------
    state : dict of str to Tensor
        On the CPU.

    Returns
    -------
    str
        Identity of names, shapes, types and bytes; 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()


def save_weights(path: Path, weights: Weights) -> None:
    """Write weights to a file.

    Parameters
    ----------
    path : Path
        Replaced as a whole.
    weights : Weights
        What to write.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    publish(path, save(weights.state, metadata={METADATA_KEY: weights.header.to_json()}))


def load_weights(path: Path) -> Weights:
    """Read weights and check them.

    Parameters
    ----------
    path : Path
        A file written by `save_weights`.

    Returns
    -------
    Weights
        On the CPU.

    Raises
    ------
    WeightsError
        If the file is missing, of another format, damaged, or does not hold the net it names.
    """
    header = read_header(path)
    try:
        state = load(path.read_bytes())
    except (SafetensorError, OSError) as problem:
        msg = f"{path}: cannot be read as safetensors: {problem}. Make or fetch the file again."
        raise WeightsError(msg) from problem
    if header.net.name in vgg.TABLE_1:
        check_state(str(path), header.net, state)
    if (found := state_sha256(state)) != header.sha256:
        msg = (
            f"{path}: the tensors have changed since they were written (sha256 {found}, header says "
            f"{header.sha256}). Make or fetch the file again."
        )
        raise WeightsError(msg)
    return Weights(header=header, state=state)


def check_state(where: str, spec: NetSpec, state: State) -> None:
    """Refuse tensors that are not exactly those of a net.

    Parameters
    ----------
    where : str
        The file, for messages.
    spec : NetSpec
        The net.
    state : dict of str to Tensor
        Under the keys of `VGG`.

    Raises
    ------
    WeightsError
        With every difference in name, shape, type, number of parameters, and every value that is not finite.
    """
    problems = fit.differences({name: tuple(tensor.shape) for name, tensor in state.items()}, spec)
    problems += [
        f"{name} is {tensor.dtype}, expected float32" for name, tensor in state.items() if tensor.dtype != torch.float32
    ]
    problems += [
        f"{name} has values that are not finite" for name, tensor in state.items() if not torch.isfinite(tensor).all()
    ]
    total = sum(tensor.numel() for tensor in state.values())
    if not problems and total != vgg.n_parameters(spec):
        problems = [f"{total:,} parameters, expected {vgg.n_parameters(spec):,}"]
    if problems:
        raise WeightsError(fit.misfit(where, spec, problems))
