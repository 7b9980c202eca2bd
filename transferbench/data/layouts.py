"""The forms in which datasets lie on a disk, as their records state them; `data.LAYOUTS` has the survey of each."""

from typing import Annotated, Literal

from pydantic import Field

from transferbench.documents import Document


class BundledLayout(Document):
    """Comes with a package; there is nothing on disk to look for."""

    kind: Literal["bundled"]


class VocLayout(Document):
    """A tree of the VOC development kit, for classification."""

    kind: Literal["voc"]
    folder: str
    holds_other_tasks: bool


class VocActionLayout(Document):
    """A tree of the VOC development kit, for the actions of annotated people."""

    kind: Literal["voc_action"]
    folder: str


class ClassFoldersLayout(Document):
    """A folder of images per class."""

    kind: Literal["class_folders"]
    folder: str


class CocoLayout(Document):
    """COCO's ``instances_*.json`` beside folders of images."""

    kind: Literal["coco"]


class IlsvrcLayout(Document):
    """Training folders by WordNet id, validation images flat or in folders, and the development kit."""

    kind: Literal["ilsvrc"]


class OwnFolderLayout(Document):
    """A user's folder of class folders."""

    kind: Literal["own_folder"]


class OwnTableLayout(Document):
    """A user's CSV file of paths and labels."""

    kind: Literal["own_table"]


Layout = Annotated[
    BundledLayout
    | VocLayout
    | VocActionLayout
    | ClassFoldersLayout
    | CocoLayout
    | IlsvrcLayout
    | OwnFolderLayout
    | OwnTableLayout,
    Field(discriminator="kind"),
]
