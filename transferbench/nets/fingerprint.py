"""A descriptor's fingerprint: one hash that tells whether a file still describes an image as it did when it was made.

The test image is arithmetic, not a photograph, so that no decoder can change it. The net runs in float64 and its
descriptor is rounded to a millionth of its largest value: rounding errors of different machines are a thousand million
times smaller than a step, so every machine gets the same hash, and any wrong channel, axis or layer another one.
"""

import hashlib

import numpy as np
import torch

from transferbench.nets.inputs import InputLayer
from transferbench.nets.weights import Weights
from transferbench.types.arrays import Float64, UInt8

EXTRA_PX = 40
"""Added to the crop's side as the image's width: not square, and at 264 px the two ways to round pooling differ."""
_STEPS = 1e6


def sample_image(height: int, width: int) -> UInt8:
    """Draw the test image.

    Parameters
    ----------
    height, width : int
        In px.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8
        RGB; no mirror image, turned image or exchange of channels of it is the same.
    """
    y, x = np.indices((height, width))
    channels = (5 * x + 2 * y, x * y // 7 + 3 * y, x * x // 9 + 11 * y + 40)
    return np.stack([channel % 256 for channel in channels], axis=-1).astype(np.uint8)


def sample_descriptor(weights: Weights) -> Float64:
    """Describe the test image.

    Parameters
    ----------
    weights : Weights
        Of any net.

    Returns
    -------
    ndarray of shape (D,), float64
        fc7 after its ReLU, or another net's layer, averaged over positions; computed in float64 on the CPU.
    """
    net, crop = weights.build_any().double(), weights.header.net.crop
    with torch.inference_mode():
        image = torch.from_numpy(sample_image(crop, crop + EXTRA_PX))[None]
        row: Float64 = net.describe(InputLayer(weights.header.preprocessing)(image).double())[0].numpy()
    return row


def fingerprint(weights: Weights) -> str:
    """Hash the rounded descriptor of the test image.

    Parameters
    ----------
    weights : Weights
        Of any net.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    row = sample_descriptor(weights)
    largest = np.abs(row).max(initial=0.0) or 1.0
    steps = np.rint(row / largest * _STEPS).astype("<i8")
    return hashlib.sha256(f"{len(row)} {largest:.5e} ".encode() + steps.tobytes()).hexdigest()
