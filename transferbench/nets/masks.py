"""Dropout whose masks belong to the images, not to a process.

A stream of random numbers belongs to one process: split the batch over two, and every image gets another mask. Here a
mask is a function of a number per image (made of seed, epoch and row) and of the unit's place, so a batch may be
divided among any number of processes, stopped anywhere and gone on with, and the gradient stays the same.
"""

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed number
_FIRST = -4658895280553007687  # 0xBF58476D1CE4E5B9
_SECOND = -7723592293110705685  # 0x94D049BB133111EB
_BITS = 24  # a float32 holds every whole number up to 2^24


def masked(x: Tensor, draws: Tensor, layer: int, dropout: float) -> Tensor:
    """Drop units of every image and scale the others up.

    Parameters
    ----------
    x : Tensor of shape (N, D)
        Activations.
    draws : Tensor of shape (N,), int64
        A random number per image.
    layer : int
        Makes layers of the same image differ.
    dropout : float
        Share of units that become zero, in [0, 1).

    Returns
    -------
    Tensor of shape (N, D)
        Of the same expectation.

    References
    ----------
    Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators: the output function of SplitMix64.
    """
    units = torch.arange(1, x.shape[1] + 1, device=x.device)
    numbers = splitmix64(draws + _GOLDEN * torch.full_like(draws, layer + 1))
    mixed = splitmix64(numbers[:, None] + _GOLDEN * units)
    uniform = _shift(mixed, 64 - _BITS).to(torch.float32) * 2.0**-_BITS
    return x * (uniform >= dropout).to(x.dtype) * (1.0 / (1.0 - dropout))


def splitmix64(numbers: Tensor) -> Tensor:
    """Scatter whole numbers over all of 64 bits.

    Parameters
    ----------
    numbers : Tensor of int64
        Read as unsigned; products wrap around.

    Returns
    -------
    Tensor of int64
        A permutation of the 64-bit numbers, applied to each.
    """
    x = (numbers ^ _shift(numbers, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def _shift(numbers: Tensor, bits: int) -> Tensor:
    """Shift right as unsigned numbers: torch keeps the sign."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)
