"""A surveyed folder as a dataset: refused if it is not what its record says, cut down for a trial, ready to be used."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shlex import quote

from PIL import Image

from transferbench.data.annotations import boxes_of
from transferbench.data.fingerprint import fingerprint
from transferbench.data.images import read_header, read_image
from transferbench.data.people import Crops, WholeImages
from transferbench.data.pictures import Pictures, no_boxes
from transferbench.data.place import Place
from transferbench.data.protocols import Pretraining, RandomSplits, protocol_parts
from transferbench.data.random_splits import held_out_of_every_class
from transferbench.data.record import DatasetRecord, is_own
from transferbench.data.splits import official_split, splits_of
from transferbench.data.stated import compare_with_record
from transferbench.data.survey import Survey
from transferbench.data.trial import first_of_every_class, trial_record
from transferbench.errors import DatasetError
from transferbench.types.identity import sha256_of
from transferbench.types.labels import ClassLabels, Labels, MultiLabels
from transferbench.types.regions import Box, Region
from transferbench.types.split import Split

_SHOWN = 5


class SurveyedDataset:
    """Images, labels and divisions of a dataset on disk.

    Parameters
    ----------
    survey : Survey
        What was found.
    place : Place
        Where, and how much of it is wanted.
    asked : str
        The name that opens it, for messages: of the user's own data the record has another.

    Raises
    ------
    DatasetError
        If something is missing, corrupt or other than the record states.
    """

    def __init__(self, survey: Survey, place: Place, asked: str) -> None:
        _refuse_problems(survey, place, asked)
        if place.limit is not None:
            survey = _limited(survey, place.limit)
        self._survey = survey
        self._place = place
        self._identity: str | None = None
        self.record: DatasetRecord = survey.record
        self.limit: int | None = place.limit
        self.ids: tuple[str, ...] = survey.ids
        self.labels: Labels = survey.labels
        self.parts: Mapping[str, tuple[str, ...]] = survey.parts
        self.boxes: Mapping[str, Box] = survey.boxes
        self._pictures: dict[Region, Pictures] = {"image": self}
        if survey.record.task == "multi_label_per_box":
            self._pictures = {
                "image": WholeImages(survey.ids, survey.files, place),
                "box": Crops(survey.ids, survey.files, survey.boxes, place),
            }

    @property
    def images_sha256(self) -> str:
        """Identity of the ids and of the contents of their files; of the ids alone for a dataset to pretrain on."""
        if self._identity is None:  # reading every file takes a while; many uses need no identity
            files = [self._survey.files[image_id] for image_id in self.ids]
            pretraining = isinstance(self.record.protocol, Pretraining)
            self._identity = sha256_of(self.ids) if pretraining else fingerprint(self.ids, files, self._place)
        return self._identity

    def file(self, image_id: str) -> Path:
        """Return the file of an image.

        Parameters
        ----------
        image_id : str
            One of `ids`.

        Returns
        -------
        Path
            The same for all people of an image.
        """
        return Path(self._survey.files[image_id])

    def image(self, image_id: str) -> Image.Image:
        """Decode one image.

        Parameters
        ----------
        image_id : str
            One of `ids`.

        Returns
        -------
        PIL.Image.Image
            The whole image in mode RGB, also where the id is a person in it.

        Raises
        ------
        DatasetError
            If the file is damaged; the message names it.
        """
        return read_image(self.file(image_id))

    def size(self, image_id: str) -> tuple[int, int]:
        """Read how large an image is, without decoding it.

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
        header = read_header(self.file(image_id))
        return header.width, header.height

    def objects(self, image_id: str) -> list[tuple[str, Box]]:
        """Read the boxes of the objects in an image.

        Parameters
        ----------
        image_id : str
            One of `ids`.

        Returns
        -------
        list of tuple of str and Box
            Class (of ILSVRC its WordNet id) and box of every object, in pixels of the image on disk, which may be a
            rescaled copy of the annotated one. Empty where the image has no annotation: so have 59% of ILSVRC's
            training images.

        Raises
        ------
        DatasetError
            If the annotation or the image's header is damaged.
        """
        path = self._survey.annotations.get(image_id)
        if path is None:
            return []
        header = read_header(self.file(image_id))
        return boxes_of(Path(path), header.width, header.height)

    def pictures(self, region: Region) -> Pictures:
        """Return what a net is shown.

        Parameters
        ----------
        region : {"image", "box"}
            Whole images, each once however many ids share it; or what the box of each id holds.

        Returns
        -------
        Pictures
            With ids of its own where several people share an image.

        Raises
        ------
        DatasetError
            If boxes are asked for and the ids are images.
        """
        if region not in self._pictures:
            raise no_boxes(self.record.name)
        return self._pictures[region]

    def splits(self) -> tuple[Split, ...]:
        """Divide the images as the record says.

        Returns
        -------
        tuple of Split
            Where test labels are only on a server: the local division.
        """
        return splits_of(self.record, self.labels, self.parts)

    def official_split(self) -> Split | None:
        """Return the division whose test labels only a server has.

        Returns
        -------
        Split or None
            None if there is none, or its images are not on disk.
        """
        return official_split(self.record, self.parts)

    def training_and_held_out(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Divide the images for pretraining.

        Returns
        -------
        tuple of two tuples of str
            Images to train on, images to watch; sorted ids. Where no parts are given, one in ten of every class is
            watched: the protocol's random splits would leave most images unused.

        Raises
        ------
        DatasetError
            If a part is not there.
        """
        protocol = self.record.protocol
        if isinstance(protocol, Pretraining):
            for name in (protocol.training, protocol.held_out):
                if not self.parts.get(name):
                    msg = f"{self.record.name}: the part {name} is not there.\n  tb datasets check {self.record.name}"
                    raise DatasetError(msg)
            return tuple(sorted(self.parts[protocol.training])), tuple(sorted(self.parts[protocol.held_out]))
        if isinstance(protocol, RandomSplits) and isinstance(self.labels, ClassLabels):
            return held_out_of_every_class(self.ids, self.labels, protocol.seed)
        split = self.splits()[0]
        return split.train, split.test


def _refuse_problems(survey: Survey, place: Place, asked: str) -> None:
    problems = [f for f in (*survey.findings, *compare_with_record(survey)) if f.is_problem]
    if not problems:
        return
    lines = [f"  {f.severity}: {f.what}{f' ({f.where})' if f.where else ''}" for f in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  and {len(problems) - _SHOWN} more")
    # The user's own data say in their name where they are.
    where, option = ("", "") if is_own(asked) else (f" in {place.folder}", f" --data-dir {quote(str(place.folder))}")
    msg = "\n".join(
        [
            f"{asked}: {len(problems)} problem(s) with the data{where}",
            *lines,
            f"  All of it, and what to do: tb datasets check {quote(asked)}{option}",
        ]
    )
    raise DatasetError(msg)


def _limited(survey: Survey, limit: int) -> Survey:
    """Keep a few images of every class in every part."""
    named = protocol_parts(survey.record.protocol) or tuple(survey.parts)
    chosen = {p: first_of_every_class(survey.labels, survey.parts[p], limit) for p in named if p in survey.parts}
    kept = {image_id for ids in chosen.values() for image_id in ids}
    parts = {name: tuple(i for i in ids if i in kept) for name, ids in survey.parts.items()}
    labels: Labels = (
        ClassLabels(classes=survey.labels.classes, by_id={i: k for i, k in survey.labels.by_id.items() if i in kept})
        if isinstance(survey.labels, ClassLabels)
        else MultiLabels(
            classes=survey.labels.classes, by_id={i: r for i, r in survey.labels.by_id.items() if i in kept}
        )
    )
    return replace(
        survey,
        record=trial_record(survey.record, limit),
        parts=parts,
        labels=labels,
        files={i: file for i, file in survey.files.items() if i in kept},
        boxes={i: box for i, box in survey.boxes.items() if i in kept},
    )
