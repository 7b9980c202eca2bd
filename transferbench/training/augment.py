"""Training crops: everything random about one visit to one image. It depends only on (seed, epoch, image)."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from transferbench.types.arrays import Float32, UInt8

# Principal components of the RGB values of ILSVRC's training pixels, 0-255: cuda-convnet2, make-data/input_meta. These
# are standard deviations; their squares, the eigenvalues, would shift by thousands of grey levels. (Other code has them
# for pixels of 0-1; used here those would shift by nothing.)
PCA_STDS = np.array([19.72083305, 37.09388853, 121.78006099])
"""Shape (3,): of the components, in grey levels."""

PCA_VECTORS = np.array(
    [
        [0.41795513, -0.71257945, -0.56351045],
        [-0.81698062, -0.02354167, -0.5761844],
        [0.39731118, 0.70119634, -0.59200296],
    ]
)
"""Shape (3, 3): a component in every column, its R, G and B in the rows."""


class Picture(Protocol):
    """One image, of which a rescaled square can be had."""

    def size_at(self, short_side_px: int) -> tuple[int, int]:
        """Return height and width after rescaling to a short side."""

    def crop(self, short_side_px: int, top: int, left: int, side_px: int) -> UInt8:
        """Return the square (side, side, 3) at a place in the image rescaled to a short side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentOptions:
    """How crops are drawn; every value can change the weights.

    Parameters
    ----------
    crop : int
        Side of the crops in px.
    short_sides : tuple of int
        Smallest and largest S in px, both ends included; equal for training at one scale.
    flip : bool
        Whether crops are mirrored half of the time.
    colour_shift : float
        Standard deviation of the factor of every principal component of colour: 0.1 in the paper, 0 for none.
    seed : int
        Of the run.
    """

    crop: int
    short_sides: tuple[int, int]
    flip: bool
    colour_shift: float
    seed: int

    def __post_init__(self) -> None:
        smallest, largest = self.short_sides
        if not 0 < self.crop <= smallest <= largest:
            msg = f"a crop of {self.crop} px, short sides from {smallest} to {largest} px: crop <= from <= to is needed"
            raise ValueError(msg)
        if self.colour_shift < 0:
            msg = f"the colour shift {self.colour_shift} is a standard deviation; it cannot be negative"
            raise ValueError(msg)

    @property
    def held_out_short_side(self) -> int:
        """S at which held-out images are looked at: the middle of the range, as the paper tests jittered nets."""
        return sum(self.short_sides) // 2


def generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the generator of one visit to one image.

    Parameters
    ----------
    seed : int
        Of the run.
    epoch : int
        From 0.
    index : int
        Of the image.

    Returns
    -------
    numpy.random.Generator
        Independent of every other visit, so the order and number of workers change nothing.
    """
    return np.random.Generator(np.random.Philox(key=np.array([seed, (epoch << 32) | index], dtype=np.uint64)))


def training_crop(picture: Picture, options: AugmentOptions, random: np.random.Generator) -> tuple[UInt8, Float32]:
    """Draw the crop of one visit.

    Parameters
    ----------
    picture : Picture
        The image.
    options : AugmentOptions
        What may vary.
    random : numpy.random.Generator
        See `generator`. What does not vary draws nothing.

    Returns
    -------
    tuple of ndarray
        The crop (side, side, 3), uint8, mirrored already, every offset equally likely, the last one included; and the
        shift of its colours (3,), float32.

    References
    ----------
    Simonyan & Zisserman (2015), Sect. 3.1.
    """
    smallest, largest = options.short_sides
    short_side = smallest if smallest == largest else int(random.integers(smallest, largest, endpoint=True))
    top, left = (
        int(random.integers(0, length - options.crop, endpoint=True)) for length in picture.size_at(short_side)
    )
    crop = picture.crop(short_side, top, left, options.crop)
    if options.flip and random.integers(2):
        crop = crop[:, ::-1]
    return crop, colour_shift(options.colour_shift, random)


def held_out_crop(picture: Picture, options: AugmentOptions) -> UInt8:
    """Cut the central square.

    Parameters
    ----------
    picture : Picture
        The image.
    options : AugmentOptions
        For the side and the scale.

    Returns
    -------
    ndarray of shape (side, side, 3), uint8
        Where the middle falls between two pixels, the one to the top and left.
    """
    short_side = options.held_out_short_side
    top, left = ((length - options.crop) // 2 for length in picture.size_at(short_side))
    return picture.crop(short_side, top, left, options.crop)


def colour_shift(std: float, random: np.random.Generator) -> Float32:
    """Draw one shift along the principal components of colour.

    Parameters
    ----------
    std : float
        Standard deviation of the components' factors.
    random : numpy.random.Generator
        Asked for three normal numbers, or for nothing if `std` is 0.

    Returns
    -------
    ndarray of shape (3,), float32
        To add to R, G and B of every pixel, in grey levels of 0-255.

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton (2012). ImageNet classification with deep convolutional neural networks,
    Sect. 4.1; the numbers are those of its code, which multiplies standard deviations, not eigenvalues.
    """
    if std == 0:
        return np.zeros(3, dtype=np.float32)
    shift: Float32 = (PCA_VECTORS @ (random.normal(0.0, std, size=3) * PCA_STDS)).astype(np.float32)
    return shift
