"""What a net is shown of a dataset: one picture per row of descriptors."""

from collections.abc import Callable
from typing import Protocol

from PIL import Image

from transferbench.errors import DatasetError


class Pictures(Protocol):
    """Images, or boxes cut out of them, with ids of their own. A dataset whose ids are images is one itself."""

    ids: tuple[str, ...]

    @property
    def images_sha256(self) -> str:
        """Identity of the ids and of the pixels behind them."""

    def image(self, image_id: str) -> Image.Image:
        """Return one picture.

        Parameters
        ----------
        image_id : str
            One of `ids`.

        Returns
        -------
        PIL.Image.Image
            In mode RGB.
        """


def no_boxes(name: str) -> DatasetError:
    """Say that a dataset has no boxes.

    Parameters
    ----------
    name : str
        Of the dataset.

    Returns
    -------
    DatasetError
        To be raised.
    """
    return DatasetError(f"{name} has no boxes of people; the region box is for voc2012_action, others have image alone")


def size_of(pictures: Pictures, image_id: str) -> tuple[int, int]:
    """Tell how large a picture is.

    Parameters
    ----------
    pictures : Pictures
        Of a dataset.
    image_id : str
        One of its ids.

    Returns
    -------
    tuple of int
        Width and height in px: from the file's header where there is one, from the decoded picture otherwise.

    Raises
    ------
    DatasetError
        If the file cannot be read.
    """
    reader: Callable[[str], tuple[int, int]] | None = getattr(pictures, "size", None)
    return reader(image_id) if reader is not None else pictures.image(image_id).size
