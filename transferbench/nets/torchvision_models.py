"""Nets of torchvision: the layers before the global pooling, and fc7 of its VGGs with batch normalisation."""

from difflib import get_close_matches
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from transferbench.errors import UnknownNameError, WeightsError
from transferbench.nets.backbones import Backbone, library_preprocessing


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


def from_torchvision(model_name: str, pretrained: bool) -> Backbone:  # noqa: FBT001 - the signature of `Factory`
    """Make a net of torchvision.

    Parameters
    ----------
    model_name : str
        As torchvision calls it.
    pretrained : bool
        Whether to load its best published weights, which may download them.

    Returns
    -------
    Backbone
        The map before the global pooling; of a VGG with batch normalisation fc7.

    Raises
    ------
    UnknownNameError
        If torchvision has no such classifier of images.
    WeightsError
        If the model is no plain stack of convolutions, or its interpolation is one that this program does not have.
    """
    from torchvision import models  # noqa: PLC0415 - takes a while

    known = models.list_models(module=models)  # without those that detect, segment, or take video
    if model_name not in known:
        close = get_close_matches(model_name, known, n=1)
        guess = f" Did you mean 'torchvision:{close[0]}'?" if close else ""
        msg = f"torchvision has no model {model_name!r} that classifies images.{guess}"
        raise UnknownNameError(msg)
    published = models.get_model_weights(model_name).DEFAULT
    model = models.get_model(model_name, weights=published if pretrained else None)
    given = published.transforms()
    preprocessing = library_preprocessing(
        getattr(given, "mean", ()), getattr(given, "std", ()), given.interpolation.value, f"torchvision:{model_name}"
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
