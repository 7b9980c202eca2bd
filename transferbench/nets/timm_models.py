"""Nets of timm: its convolutional models by their last map, the others by the pooling they were trained with."""

from difflib import get_close_matches
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferbench.errors import UnknownNameError, WeightsError
from transferbench.nets.backbones import GRID_PX, Backbone, library_preprocessing


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


def from_timm(model_name: str, pretrained: bool) -> Backbone:  # noqa: FBT001 - the signature of `Factory`
    """Make a net of timm.

    Parameters
    ----------
    model_name : str
        As timm calls it, with or without the name of its weights (``resnet50.a1_in1k``).
    pretrained : bool
        Whether to load its published weights, which may download them.

    Returns
    -------
    Backbone
        A map where the model is convolutional and takes any size, else a descriptor by the model's own pooling.

    Raises
    ------
    UnknownNameError
        If timm has no such model.
    WeightsError
        If timm is not installed, or the model's interpolation is one that this program does not have.
    """
    timm = _library(model_name)
    model, interpolates = _create(timm, model_name, pretrained=pretrained)
    config: dict[str, Any] = timm.data.resolve_model_data_config(model)
    preprocessing = library_preprocessing(config["mean"], config["std"], config["interpolation"], f"timm:{model_name}")
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


def _library(model_name: str) -> Any:
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
    return timm


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
            out = model.forward_features(torch.zeros(1, 3, 2 * GRID_PX, 3 * GRID_PX))
    except (AssertionError, RuntimeError, ValueError):
        return None
    if out.ndim != 4:
        return None
    return bool(out.shape[-1] == model.num_features and out.shape[1] != model.num_features)
