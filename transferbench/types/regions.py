"""Which part of an image a net is shown: all of it, or an annotated person's box."""

from dataclasses import dataclass
from typing import Literal

Region = Literal["image", "box"]
REGIONS: tuple[tuple[Region, ...], ...] = (("image",), ("box",), ("image", "box"))
"""What nets may be shown: whole images, the boxes of annotated people, or both side by side in this order."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of an image, by the edges of its pixels as Pillow counts them.

    Parameters
    ----------
    left, top, right, bottom : int
        In px of the original image; `right` and `bottom` are the first column and row outside.
    """

    left: int
    top: int
    right: int
    bottom: int

    def clipped(self, width: int, height: int) -> "Box":
        """Cut off what lies outside an image.

        Parameters
        ----------
        width, height : int
            Of the image, in px.

        Returns
        -------
        Box
            At least one pixel wide and high.
        """
        left, top = min(max(self.left, 0), width - 1), min(max(self.top, 0), height - 1)
        return Box(left, top, max(min(self.right, width), left + 1), max(min(self.bottom, height), top + 1))
