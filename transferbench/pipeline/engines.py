"""Which engine runs a net, and the making of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from transferbench.errors import DeviceError
from transferbench.nets import vgg
from transferbench.pipeline.plan import Part

if TYPE_CHECKING:
    from transferbench.extraction.bands import Steps
    from transferbench.extraction.engine import Engine
    from transferbench.nets.backbones import PooledNet
    from transferbench.nets.inputs import DenseBackbone
    from transferbench.nets.modules import VGG

EngineName = Literal["auto", "torch", "ncnn"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How descriptors are computed. Nothing here is meant to change a number, so it is recorded, but in no key.

    Parameters
    ----------
    engine : {"auto", "torch", "ncnn"}
        ``auto`` takes the fastest that is installed for the net and the device.
    precision : {"auto", "float32", "bfloat16", "float16"}
        ``auto`` is bfloat16 on GPUs that have it, float32 elsewhere.
    compiled : bool
        Whether torch compiles the net first.
    """

    engine: EngineName = "auto"
    precision: Precision = "auto"
    compiled: bool = False


AUTO = EngineOptions()
WORTH_NCNN_CHANNELS = 8
"""Of the first convolution. ncnn computes groups of channels at once; slimmer nets are faster in torch."""


def open_engine(part: Part, device: str, options: EngineOptions = AUTO) -> "Engine":
    """Make the engine of a net.

    Parameters
    ----------
    part : Part
        The net; its weights are read.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    options : EngineOptions
        What was asked for.

    Returns
    -------
    Engine
        Ready to describe images.

    Raises
    ------
    DeviceError
        If the device or engine is not there, or cannot do what was asked.
    WeightsError
        If the weights are damaged.
    """
    # torch takes two seconds to import; a complete cache never needs it.
    from transferbench.extraction.engine import choose_device
    from transferbench.extraction.ncnn_engine import NcnnEngine
    from transferbench.extraction.torch_engine import TorchEngine
    from transferbench.nets.inputs import DenseBackbone, PixelBackbone
    from transferbench.nets.modules import VGG
    from transferbench.nets.plain import plain_trunk

    chosen = choose_device(device)
    if part.weights is None:
        return TorchEngine(PixelBackbone(part.blocks[0].spec.short_side_px), "cpu")
    weights = part.weights.load()
    net = weights.build_any()
    name = _engine_for(net, chosen, options)
    backbone = DenseBackbone(net, weights.header.preprocessing, layer=part.blocks[0].spec.layer)
    if name == "ncnn" and isinstance(net, VGG):
        return NcnnEngine(backbone.inputs, plain_trunk(net), backbone.head, backbone.margin_px)
    precision = precision_for(chosen, options)
    return TorchEngine(backbone, chosen, precision, steps=steps_of(backbone), compiled=options.compiled)


def steps_of(backbone: "DenseBackbone") -> "Steps | None":
    """Divide a net for images that are too large to go through it at once.

    Parameters
    ----------
    backbone : DenseBackbone
        Any.

    Returns
    -------
    Steps or None
        None for nets that are not of Table 1: nothing is known of what they see.
    """
    from transferbench.extraction.bands import Steps
    from transferbench.nets.modules import VGG

    if not isinstance(backbone.net, VGG):
        return None
    return Steps(backbone.trunk, backbone.head, backbone.margin_px)


def described(engine: "Engine") -> str:
    """Name an engine for a person.

    Parameters
    ----------
    engine : Engine
        Any.

    Returns
    -------
    str
        For instance ``on cpu, by ncnn in float32``.
    """
    return f"on {engine.device}, by {engine.name} in {engine.precision}"


def refuse_contradictions(device: str, options: EngineOptions) -> None:
    """Refuse what no net could be run with, before hours go into pretraining one.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    options : EngineOptions
        What was asked for.

    Raises
    ------
    DeviceError
        If the device or engine is not there, or cannot do what was asked.
    """
    if options == AUTO:  # nothing was asked for, and torch need not be imported
        return
    from transferbench.extraction.engine import choose_device

    _refuse(options, refusals(choose_device(device), options))


def refusals(device: str, options: EngineOptions = AUTO) -> list[str]:
    """Say why ncnn is not taken.

    Parameters
    ----------
    device : str
        As `choose_device` returns it.
    options : EngineOptions
        What was asked for.

    Returns
    -------
    list of str
        Reasons, for a sentence that begins with its name; empty where it is taken for a net of Table 1.
    """
    from transferbench.extraction.ncnn_engine import installed

    known = [
        ("is for CPUs; use --device cpu", device != "cpu"),
        ("computes in float32 alone", options.precision not in {"auto", "float32"}),
        ("is not compiled by torch; leave out --compile", options.compiled),
        ("is not installed: pip install 'transferbench[cpu]'", not installed()),
    ]
    return [reason for reason, applies in known if applies]


def _engine_for(net: "VGG | PooledNet", device: str, options: EngineOptions) -> EngineName:
    """Choose; what was asked for by name is taken or refused, never replaced."""
    from transferbench.nets.modules import VGG

    reasons = refusals(device, options)
    if not isinstance(net, VGG):
        reasons = ["knows the nets of Table 1 alone", *reasons]
    _refuse(options, reasons)
    if options.engine == "torch" or reasons:
        return "torch"
    slim = isinstance(net, VGG) and vgg.blocks(net.spec)[0][0].outputs < WORTH_NCNN_CHANNELS
    return "torch" if options.engine == "auto" and slim else "ncnn"


def _refuse(options: EngineOptions, reasons: list[str]) -> None:
    if options.engine == "ncnn" and reasons:
        msg = f"the engine ncnn {reasons[0]}.\n  Or use --engine torch."
        raise DeviceError(msg)


def precision_for(device: str, options: EngineOptions) -> str:
    """Choose how precise products are.

    Parameters
    ----------
    device : str
        As `choose_device` returns it.
    options : EngineOptions
        What was asked for.

    Returns
    -------
    str
        ``float32``, ``bfloat16`` or ``float16``.
    """
    if options.precision != "auto":
        return options.precision
    import torch

    if not device.startswith("cuda"):
        return "float32"
    # float16 ends at 65,504, which activations of nets on 0-255 can come near; it has to be asked for. GPUs before
    # compute capability 8 have no bfloat16 but emulate it, slower than float32.
    with torch.cuda.device(device):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
