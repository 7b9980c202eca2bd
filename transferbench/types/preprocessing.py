"""From RGB bytes to a net's input: the numbers that are stored with its weights."""

from dataclasses import dataclass
from typing import Any, Literal

ChannelOrder = Literal["RGB", "BGR"]
Interpolation = Literal["bicubic", "bilinear"]
MEAN_RGB_ILSVRC = (123.68, 116.779, 103.939)
"""Mean colour subtracted by the authors' released nets, 0-255 units (paper, Sect. 2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """From RGB bytes to the net's input: stored with the weights, guessed nowhere.

    Parameters
    ----------
    channel_order : {"RGB", "BGR"}
        Order in which the first layer expects the channels.
    value_range : float
        255.0 or 1.0: the largest input value before the mean is subtracted.
    mean, std : tuple of float
        Three values each, in `channel_order` and in units of `value_range`.
    interpolation : {"bicubic", "bilinear"}
        Of the isotropic rescaling, always antialiased.
    """

    channel_order: ChannelOrder = "RGB"
    value_range: float = 255.0
    mean: tuple[float, float, float] = MEAN_RGB_ILSVRC
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: Interpolation = "bicubic"

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Preprocessing":
        """Read what ``asdict`` and JSON made of it.

        Parameters
        ----------
        plain : dict
            JSON values; lists stand for tuples.

        Returns
        -------
        Preprocessing
            Equal to the one that was written.

        Raises
        ------
        TypeError
            If a field is unknown.
        """
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in plain.items()}
        return cls(**values)
