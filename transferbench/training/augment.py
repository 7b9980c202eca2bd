"""Training crops. The random generator is an argument and depends only on (seed, epoch, image)."""

import numpy as np

from transferbench.types import UInt8


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


def random_crop(image: UInt8, side_px: int, *, flip: bool, random: np.random.Generator) -> UInt8:
    """Cut a square at a random place and mirror it half of the time.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
        Already rescaled to the training short side S.
    side_px : int
        Of the crop; at most H and W.
    flip : bool
        Whether mirroring is allowed.
    random : numpy.random.Generator
        See `generator`.

    Returns
    -------
    ndarray of shape (side, side, 3), uint8
        Every offset, the last one included, is equally likely.
    """
    top, left = (int(random.integers(0, length - side_px, endpoint=True)) for length in image.shape[:2])
    crop = image[top : top + side_px, left : left + side_px]
    return crop[:, ::-1] if flip and random.integers(2) else crop


def centre_crop(image: UInt8, side_px: int) -> UInt8:
    """Cut the central square.

    Parameters
    ----------
    image : ndarray of shape (H, W, 3), uint8
        Already rescaled.
    side_px : int
        Of the crop.

    Returns
    -------
    ndarray of shape (side, side, 3), uint8
        A view.
    """
    top, left = ((length - side_px) // 2 for length in image.shape[:2])
    return image[top : top + side_px, left : left + side_px]
