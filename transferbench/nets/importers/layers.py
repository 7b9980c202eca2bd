"""What the readers share: arrays under our names, and the shapes of the fully connected layers."""

from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferbench.errors import WeightsError


@dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """The content of a weights file, under our names and axes.

    Parameters
    ----------
    arrays : dict of str to ndarray
        ``conv1_1.weight`` ... ``fc8.bias``; weights as (outputs, inputs, height, width).
    origin : dict of str to str
        Our name to that in the file.
    """

    arrays: dict[str, NDArray[Any]]
    origin: dict[str, str]


def by_block(convolutions_per_block: list[int]) -> list[str]:
    """Name convolutions by block and position.

    Parameters
    ----------
    convolutions_per_block : list of int
        How many convolutions stand before each pooling.

    Returns
    -------
    list of str
        ``conv1_1``, ``conv1_2`` ...
    """
    return [f"conv{block}_{n}" for block, count in enumerate(convolutions_per_block, 1) for n in range(1, count + 1)]


def map_side(n_inputs: int, channels: int, where: str) -> int:
    """Work out the side of the map that fc6 sees.

    Parameters
    ----------
    n_inputs : int
        Columns of fc6's matrix.
    channels : int
        Outputs of the last convolution.
    where : str
        File and tensor, for the message.

    Returns
    -------
    int
        7 in the paper.

    Raises
    ------
    WeightsError
        If no square map has that many values.
    """
    side = isqrt(n_inputs // channels) if channels else 0
    if not side or side * side * channels != n_inputs:
        msg = f"{where}: {n_inputs} inputs are no square map of the last convolution's {channels} channels"
        raise WeightsError(msg)
    return side


def last_channels(arrays: dict[str, NDArray[Any]], where: str) -> int:
    """Return the outputs of the last convolution.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Under our names.
    where : str
        The file, for the message.

    Returns
    -------
    int
        512 in the paper.

    Raises
    ------
    WeightsError
        If there is no convolution of a fifth block.
    """
    names = sorted(name for name in arrays if name.startswith("conv5_") and name.endswith(".weight"))
    if not names:
        msg = f"{where}: there is no fifth block of convolutions, so this is no net of Table 1"
        raise WeightsError(msg)
    return int(arrays[names[-1]].shape[0])


def contiguous(array: NDArray[Any]) -> NDArray[Any]:
    """Copy an array into C order and native byte order, its type unchanged otherwise.

    Parameters
    ----------
    array : ndarray
        Perhaps a view of another layout or byte order.

    Returns
    -------
    ndarray
        Writable.
    """
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
