"""What a net beside those of Table 1 is to this program: a module, its preprocessing, and how its positions are pooled.

A plugin names a factory in the entry-point group ``transferbench.nets``; docs/adding-a-net.md shows one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast, get_args

from torch import Tensor, nn

from transferbench.errors import WeightsError
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Interpolation, Preprocessing

GRID_PX = 32


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
    smallest_side: int = GRID_PX
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


def library_preprocessing(mean: Any, std: Any, interpolation: str, net: str) -> Preprocessing:
    """Turn what another library says of its weights' input into our own value.

    Parameters
    ----------
    mean, std : sequence of float
        Three values each, R G B, in units of [0, 1].
    interpolation : str
        Its name of the rescaling filter.
    net : str
        Whose weights they are, for the message.

    Returns
    -------
    Preprocessing
        RGB in [0, 1].

    Raises
    ------
    WeightsError
        If this program does not have that interpolation.
    """
    if interpolation not in get_args(Interpolation):
        known = ", ".join(get_args(Interpolation))
        msg = f"{net} was trained with {interpolation} interpolation, which this program does not have ({known})"
        raise WeightsError(msg)
    return Preprocessing(
        value_range=1.0,
        mean=_three(mean),
        std=_three(std),
        interpolation=cast("Interpolation", interpolation),
    )


def _three(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
