"""Names → nets beside those of Table 1: of timm, of torchvision, of plugins."""

import re
from collections.abc import Callable

import torch

from transferbench.errors import UnknownNameError, WeightsError
from transferbench.lookup import lookup
from transferbench.nets.backbones import Backbone, Factory
from transferbench.nets.timm_models import from_timm
from transferbench.nets.torchvision_models import from_torchvision

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


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


SOURCES: dict[str, Callable[[str, bool], Backbone]] = {"timm": from_timm, "torchvision": from_torchvision}
"""What stands before the colon of a net's name."""
