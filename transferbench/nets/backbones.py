"""Nets beside those of Table 1: timm's, torchvision's, and those of plugins. Each gives a map that is pooled like fc7.

A plugin names a factory in the entry-point group ``transferbench.nets``; docs/adding-a-net.md shows one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferbench.errors import UnknownNameError, WeightsError
from transferbench.lookup import lookup
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Interpolation, Preprocessing

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_GRID_PX = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backbone:
    """What the factory of a net returns.

    Parameters
    ----------
    module : Module
        Maps preprocessed images (N, 3, H, W) to feature maps (N, C, h, w), which are averaged over positions, or to
        descriptors (N, D).
    preprocessing : Preprocessing
        What its weights expect; ours is done before `module`.
    layer : str
        Which activations come out; part of a descriptor's key.
    positions : str, default "mean"
        How positions become one vector, or how a net of fixed size takes other sizes; part of a descriptor's key.
    smallest_side : int, default 32
        Of an image in px, a multiple of 32.
    n_classes : int, default 1000
        That the weights were trained for.
    """

    module: nn.Module
    preprocessing: Preprocessing
    layer: str
    positions: str = "mean"
    smallest_side: int = _GRID_PX
    n_classes: int = 1000

    def spec(self, name: str) -> NetSpec:
        """Return the run-time value that names the net.

        Parameters
        ----------
        name : str
            For instance ``timm:resnet50``.

        Returns
        -------
        NetSpec
            Its crop is the smallest side.
        """
        return NetSpec(name=name, crop=self.smallest_side, n_classes=self.n_classes)


Factory = Callable[[bool], Backbone]
"""Takes whether the published weights are wanted; otherwise they are drawn by torch's global generator."""


class PooledNet(nn.Module):
    """A backbone with its positions averaged.

    Parameters
    ----------
    backbone : Backbone
        Put into evaluation mode.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.module = backbone.module.eval()

    def describe(self, images: Tensor) -> Tensor:
        """Compute descriptors.

        Parameters
        ----------
        images : Tensor of shape (N, 3, H, W)
            Preprocessed.

        Returns
        -------
        Tensor of shape (N, D)
            A map is averaged over its positions.
        """
        out: Tensor = self.module(images)
        if out.ndim not in {2, 4}:
            msg = f"the net gives values of shape {tuple(out.shape)}; (N, C, h, w) or (N, D) is needed"
            raise WeightsError(msg)
        return out if out.ndim == 2 else out.mean(dim=(2, 3))


def open_backbone(name: str, *, pretrained: bool) -> Backbone:
    """Make a net that is not of Table 1.

    Parameters
    ----------
    name : str
        ``timm:NAME``, ``torchvision:NAME``, or a plugin's.
    pretrained : bool
        Whether to load its published weights, which may download them.

    Returns
    -------
    Backbone
        Otherwise with random weights.

    Raises
    ------
    UnknownNameError
        If there is no such net.
    WeightsError
        If the library is not installed, or a plugin returns something else.
    """
    source, colon, model = name.partition(":")
    if not colon:
        plugin: Factory = lookup("net", name, {}, "transferbench.nets")
        made: object = plugin(pretrained)
        if not isinstance(made, Backbone):
            msg = f"the plugin of net {name} returns {type(made).__name__}, not a Backbone (docs/adding-a-net.md)"
            raise WeightsError(msg)
        return made
    factory = lookup("source of nets", source, SOURCES)
    if not _NAME.fullmatch(model):
        msg = f"{name!r} is no name of a net; write for instance timm:resnet50"
        raise UnknownNameError(msg)
    return factory(model, pretrained)


def seeded(name: str, seed: int) -> Backbone:
    """Make a net with random weights.

    Parameters
    ----------
    name : str
        As for `open_backbone`.
    seed : int
        Of torch's global generator, which is put back afterwards.

    Returns
    -------
    Backbone
        The same for the same seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return open_backbone(name, pretrained=False)


# ---- timm ----------------------------------------------------------------------------------------------------------


class _LastMap(nn.Module):
    """The last feature map of a convolutional timm model."""

    def __init__(self, model: nn.Module, *, channels_last: bool) -> None:
        super().__init__()
        self.model = model
        self._channels_last = channels_last

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model.forward_features(images)  # type: ignore[operator]
        return out.permute(0, 3, 1, 2) if self._channels_last else out


class _DenseVgg(nn.Module):
    """fc7 of timm's VGG, whose fully connected layers are convolutions already."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model.pre_logits(self.model.forward_features(images))  # type: ignore[operator]
        return out


class _OwnPooling(nn.Module):
    """A model of tokens, pooled as it was trained; images of other sizes are resized if `side` is given."""

    def __init__(self, model: nn.Module, side: int | None) -> None:
        super().__init__()
        self.model = model
        self._side = side

    def forward(self, images: Tensor) -> Tensor:
        if self._side is not None:
            images = F.interpolate(images, (self._side, self._side), mode="bilinear", antialias=True)
        out: Tensor = self.model.forward_head(self.model.forward_features(images), pre_logits=True)  # type: ignore[operator]
        return out


def _timm(model_name: str, pretrained: bool) -> Backbone:  # noqa: FBT001 - the signature of `Factory`
    try:
        import timm  # noqa: PLC0415 - an extra
    except ImportError as problem:
        msg = "timm is not installed: pip install 'transferbench[nets]'"
        raise WeightsError(msg) from problem
    base = model_name.partition(".")[0]
    if not timm.is_model(base):
        close = get_close_matches(base, timm.list_models(), n=1)
        guess = f" Did you mean 'timm:{close[0]}'?" if close else ""
        msg = f"timm has no model {model_name!r}.{guess}"
        raise UnknownNameError(msg)
    model, interpolates = _create(timm, model_name, pretrained=pretrained)
    config: dict[str, Any] = timm.data.resolve_model_data_config(model)  # type: ignore[attr-defined, no-untyped-call]
    preprocessing = Preprocessing(
        value_range=1.0,
        mean=_three(config["mean"]),
        std=_three(config["std"]),
        interpolation=_interpolation(config["interpolation"], f"timm:{model_name}"),
    )
    n_classes = max(2, int(model.num_classes))
    if isinstance(model, timm.models.vgg.VGG):
        return Backbone(
            module=_DenseVgg(model),
            preprocessing=preprocessing,
            layer="fc7+relu",
            smallest_side=224,
            n_classes=n_classes,
        )
    if interpolates:
        return Backbone(
            module=_OwnPooling(model, None),
            preprocessing=preprocessing,
            layer="before the classifier",
            positions="own pooling; position embeddings interpolated, image padded to whole patches",
            n_classes=n_classes,
        )
    channels_last = _map_layout(model)
    if channels_last is None:
        side = int(config["input_size"][-1])
        return Backbone(
            module=_OwnPooling(model, side),
            preprocessing=preprocessing,
            layer="before the classifier",
            positions=f"own pooling; image resized to {side} x {side}",
            n_classes=n_classes,
        )
    return Backbone(
        module=_LastMap(model, channels_last=channels_last),
        preprocessing=preprocessing,
        layer="last features",
        n_classes=n_classes,
    )


def _create(timm: Any, model_name: str, *, pretrained: bool) -> tuple[Any, bool]:
    """Make a model, one that interpolates its position embeddings where it can."""
    try:
        model = timm.create_model(model_name, pretrained=pretrained, dynamic_img_size=True, dynamic_img_pad=True)
    except TypeError:  # only models with position embeddings know these options
        return timm.create_model(model_name, pretrained=pretrained).eval(), False
    return model.eval(), bool(getattr(model, "dynamic_img_size", False))


def _map_layout(model: Any) -> bool | None:
    """Try whether a model takes any size and gives a map; True when its channels come last, None when it does not."""
    try:
        with torch.inference_mode():
            out = model.forward_features(torch.zeros(1, 3, 2 * _GRID_PX, 3 * _GRID_PX))
    except (AssertionError, RuntimeError, ValueError):
        return None
    if out.ndim != 4:
        return None
    return bool(out.shape[-1] == model.num_features and out.shape[1] != model.num_features)


# ---- torchvision ---------------------------------------------------------------------------------------------------


class _FullyConvolutional(nn.Module):
    """fc7 of torchvision's VGG (here: with batch normalisation), its matrices applied as convolutions."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.features, self.classifier = model.features, model.classifier

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.features(images)
        for place, side in ((0, 7), (3, 1)):
            layer: nn.Linear = self.classifier[place]
            x = F.relu(F.conv2d(x, layer.weight.view(layer.out_features, -1, side, side), layer.bias))
        return x


def _torchvision(model_name: str, pretrained: bool) -> Backbone:  # noqa: FBT001 - the signature of `Factory`
    from torchvision.models import get_model, get_model_weights, list_models  # noqa: PLC0415 - takes a while

    if model_name not in list_models():
        close = get_close_matches(model_name, list_models(), n=1)
        guess = f" Did you mean 'torchvision:{close[0]}'?" if close else ""
        msg = f"torchvision has no model {model_name!r}.{guess}"
        raise UnknownNameError(msg)
    published = get_model_weights(model_name).DEFAULT
    model = get_model(model_name, weights=published if pretrained else None)
    given = published.transforms()
    preprocessing = Preprocessing(
        value_range=1.0,
        mean=_three(getattr(given, "mean", ())),
        std=_three(getattr(given, "std", ())),
        interpolation=_interpolation(given.interpolation.value, f"torchvision:{model_name}"),
    )
    if model_name.startswith("vgg"):
        return Backbone(
            module=_FullyConvolutional(model), preprocessing=preprocessing, layer="fc7+relu", smallest_side=224
        )
    return Backbone(module=_trunk(model, model_name), preprocessing=preprocessing, layer="last features")


def _trunk(model: Any, model_name: str) -> nn.Module:
    """Take the layers before the global pooling."""
    if model_name.startswith("densenet"):
        return nn.Sequential(model.features, nn.ReLU())
    if hasattr(model, "layer4"):
        names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
        return nn.Sequential(*(getattr(model, name) for name in names))
    if isinstance(getattr(model, "features", None), nn.Module) and not model_name.startswith(("swin", "maxvit")):
        features: nn.Module = model.features
        return features
    msg = f"torchvision:{model_name} is no plain stack of convolutions before its pooling; take it from timm"
    raise WeightsError(msg)


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _interpolation(name: str, net: str) -> Interpolation:
    if name == "bicubic":
        return "bicubic"
    if name == "bilinear":
        return "bilinear"
    msg = f"{net} was trained with {name} interpolation, which this program does not have (bicubic, bilinear)"
    raise WeightsError(msg)


SOURCES: dict[str, Callable[[str, bool], Backbone]] = {"timm": _timm, "torchvision": _torchvision}
"""What stands before the colon of a net's name."""
