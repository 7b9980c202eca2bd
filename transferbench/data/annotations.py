"""Annotations in PASCAL's XML: objects, boxes, actions. Files are untrusted: no document type, no entities, 1 MB."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from transferbench.errors import DatasetError
from transferbench.types.regions import Box

MAX_XML_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """One ``<object>`` of an annotation.

    Parameters
    ----------
    name : str
        Class, or WordNet id.
    box : Box
        Of the object itself, not of its parts.
    difficult : bool
        False where the file does not say.
    actions : dict of str to bool
        Empty where the file has none.
    """

    name: str
    box: Box
    difficult: bool
    actions: dict[str, bool]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation file.

    Parameters
    ----------
    size : tuple of int or None
        Declared width and height of the image in px.
    objects : tuple of AnnotatedObject
        All, in the order of the file: object index 1 of an action list is the first of them, whatever its class.
    """

    size: tuple[int, int] | None
    objects: tuple[AnnotatedObject, ...]

    def boxes_on(self, width: int, height: int) -> tuple[Box, ...]:
        """Map the boxes onto an image of a possibly other size than the declared one.

        Parameters
        ----------
        width, height : int
            Measured, in px.

        Returns
        -------
        tuple of Box
            Scaled where the image was rescaled after annotation, and clipped to the image.
        """
        across, down = (1.0, 1.0) if self.size is None else (width / self.size[0], height / self.size[1])
        boxes = (found.box for found in self.objects)
        return tuple(
            Box(round(b.left * across), round(b.top * down), round(b.right * across), round(b.bottom * down)).clipped(
                width, height
            )
            for b in boxes
        )


def read_annotation(path: Path) -> Annotation:
    """Read an annotation file.

    Parameters
    ----------
    path : Path
        XML of VOC or ILSVRC.

    Returns
    -------
    Annotation
        Boxes in Pillow's coordinates: the files count from 1 and include the last pixel.

    Raises
    ------
    DatasetError
        If the file is missing, larger than 1 MB, no such XML, or has a document type or entities.
    """
    root = _parse(path)
    try:
        return Annotation(size=_size(root), objects=tuple(_object(element) for element in root.findall("object")))
    except ValueError as problem:
        msg = f"{path}: {problem}"
        raise DatasetError(msg) from problem


def boxes_of(annotation: Path, width: int, height: int) -> list[tuple[str, Box]]:
    """Read the boxes of one image.

    Parameters
    ----------
    annotation : Path
        XML of the localisation task.
    width, height : int
        Of the image as it is on disk: redistributed copies are rescaled, their annotations are not.

    Returns
    -------
    list of tuple of str and Box
        Name (of ILSVRC a WordNet id) and box of every object, in the image's own pixels.
    """
    found = read_annotation(annotation)
    return [(o.name, box) for o, box in zip(found.objects, found.boxes_on(width, height), strict=True)]


def _parse(path: Path) -> Element:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_XML_BYTES + 1)
        if len(data) > MAX_XML_BYTES:
            msg = f"{path}: is larger than {MAX_XML_BYTES:,} bytes, which no annotation is; it is not read"
            raise DatasetError(msg)
        root: Element = fromstring(data, forbid_dtd=True)
    except OSError as problem:
        msg = f"{path}: cannot be read: {problem.strerror}"
        raise DatasetError(msg) from problem
    except DefusedXmlException as problem:
        msg = f"{path}: has a document type or entities, which no annotation needs; it is not read"
        raise DatasetError(msg) from problem
    except (ParseError, ValueError) as problem:
        msg = f"{path}: is not XML: {problem}"
        raise DatasetError(msg) from problem
    return root


def _object(element: Element) -> AnnotatedObject:
    # Direct children only: <part> elements have a name and a box of their own.
    actions = element.find("actions")
    return AnnotatedObject(
        name=_text(element, "name"),
        box=_box(element),
        difficult=(element.findtext("difficult") or "0").strip() == "1",
        actions={} if actions is None else {a.tag: (a.text or "").strip() == "1" for a in actions},
    )


def _box(element: Element) -> Box:
    edges = element.find("bndbox")
    if edges is None:
        msg = "an object has no bndbox"
        raise ValueError(msg)
    # By tag, not by position: the action files write xmax before xmin. Two files of VOC-2012 hold fractions.
    left, top, right, bottom = (int(float(_text(edges, tag))) for tag in ("xmin", "ymin", "xmax", "ymax"))
    if right < left or bottom < top:
        msg = f"a box ends before it begins: {left},{top} to {right},{bottom}"
        raise ValueError(msg)
    return Box(left - 1, top - 1, right, bottom)


def _size(root: Element) -> tuple[int, int] | None:
    size = root.find("size")
    if size is None:
        return None
    width, height = int(float(_text(size, "width"))), int(float(_text(size, "height")))
    return (width, height) if width > 0 and height > 0 else None


def _text(element: Element, tag: str) -> str:
    text = element.findtext(tag)
    if text is None or not text.strip():
        msg = f"<{element.tag}> has no <{tag}>"
        raise ValueError(msg)
    return text.strip()
