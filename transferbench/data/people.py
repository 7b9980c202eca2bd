"""People in photographs: their ids, and what a net is shown of them: the whole image once, or each person's box."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from PIL import Image

from transferbench.data.fingerprint import fingerprint
from transferbench.data.images import read_header, read_image
from transferbench.data.place import Place
from transferbench.types.identity import sha256_of
from transferbench.types.regions import Box

_SEPARATOR = "#"


def person_id(image_id: str, index: str) -> str:
    """Name a person.

    Parameters
    ----------
    image_id : str
        Of the photograph.
    index : str
        Number of the object in its annotation, from 1, counted over all objects.

    Returns
    -------
    str
        For instance ``2010_006088#1``.
    """
    return f"{image_id}{_SEPARATOR}{index}"


def image_of(person: str) -> str:
    """Return the photograph of a person.

    Parameters
    ----------
    person : str
        As `person_id` names them.

    Returns
    -------
    str
        The image id.
    """
    return person.rpartition(_SEPARATOR)[0]


class WholeImages:
    """The photographs of people, each once however many people are in it.

    Parameters
    ----------
    people : sequence of str
        Ids.
    files : mapping of str to str
        Photograph of every person.
    place : Place
        As for `fingerprint`.
    """

    def __init__(self, people: Sequence[str], files: Mapping[str, str], place: Place) -> None:
        self._files = {image_of(person): files[person] for person in people}
        self._place = place
        self.ids: tuple[str, ...] = tuple(sorted(self._files))

    @cached_property
    def images_sha256(self) -> str:
        """Identity of the image ids and of the contents of their files."""
        return fingerprint(self.ids, [self._files[image_id] for image_id in self.ids], self._place)

    def image(self, image_id: str) -> Image.Image:
        """Decode a photograph.

        Parameters
        ----------
        image_id : str
            One of `ids`.

        Returns
        -------
        PIL.Image.Image
            In mode RGB.

        Raises
        ------
        DatasetError
            If the file is damaged; the message names it.
        """
        return read_image(Path(self._files[image_id]))

    def size(self, image_id: str) -> tuple[int, int]:
        """Read how large a photograph is, without decoding it.

        Parameters
        ----------
        image_id : str
            One of `ids`.

        Returns
        -------
        tuple of int
            Width and height in px.

        Raises
        ------
        DatasetError
            If the file's header cannot be read; the message names it.
        """
        header = read_header(Path(self._files[image_id]))
        return header.width, header.height


class Crops:
    """People, each cut out of the photograph along the annotated box.

    Parameters
    ----------
    people : sequence of str
        Ids, sorted.
    files : mapping of str to str
        Photograph of every person.
    boxes : mapping of str to Box
        Of every person.
    place : Place
        As for `fingerprint`.
    """

    def __init__(self, people: Sequence[str], files: Mapping[str, str], boxes: Mapping[str, Box], place: Place) -> None:
        self._files, self._boxes, self._place = files, boxes, place
        self.ids: tuple[str, ...] = tuple(people)

    @cached_property
    def images_sha256(self) -> str:
        """Identity of the people, of the contents of their photographs and of their boxes."""
        photographs = fingerprint(self.ids, [self._files[person] for person in self.ids], self._place)
        boxes = (self._boxes[person] for person in self.ids)
        return sha256_of([photographs, [[box.left, box.top, box.right, box.bottom] for box in boxes]])

    def image(self, image_id: str) -> Image.Image:
        """Decode a photograph and cut a person out.

        Parameters
        ----------
        image_id : str
            One of `ids`.

        Returns
        -------
        PIL.Image.Image
            In mode RGB, exactly the box, as far as it lies in the photograph.

        Raises
        ------
        DatasetError
            If the file is damaged; the message names it.
        """
        photograph = read_image(Path(self._files[image_id]))
        box = self._boxes[image_id].clipped(*photograph.size)
        return photograph.crop((box.left, box.top, box.right, box.bottom))

    def size(self, image_id: str) -> tuple[int, int]:
        """Read how large a person's box is, without decoding it.

        Parameters
        ----------
        image_id : str
            One of `ids`.

        Returns
        -------
        tuple of int
            Width and height in px.

        Raises
        ------
        DatasetError
            If the file's header cannot be read; the message names it.
        """
        header = read_header(Path(self._files[image_id]))
        box = self._boxes[image_id].clipped(header.width, header.height)
        return box.right - box.left, box.bottom - box.top
