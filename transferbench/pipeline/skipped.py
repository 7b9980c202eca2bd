"""Images that could not be decoded: which ids of a dataset their rows stand for, and a dataset without them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from PIL import Image

from transferbench.cache.block import Block
from transferbench.data import Dataset
from transferbench.data.dataset import SurveyedDataset
from transferbench.data.people import image_of
from transferbench.data.pictures import Pictures
from transferbench.data.record import DatasetRecord
from transferbench.reporting.result import SkippedImage
from transferbench.types.labels import ClassLabels, Labels, MultiLabels
from transferbench.types.regions import Region
from transferbench.types.split import Split


def skipped_ids(blocks: Sequence[Block], dataset: Dataset) -> dict[str, str]:
    """Find the ids of a dataset that lack a row in some block.

    Parameters
    ----------
    blocks : sequence of Block
        Complete.
    dataset : Dataset
        Whose images they describe.

    Returns
    -------
    dict of str to str
        Id and why it was skipped, in order of ids. All people of a skipped photograph are among them.

    Raises
    ------
    CacheError
        If a manifest is damaged.
    """
    found: dict[str, str] = {}
    for block in blocks:
        reasons = block.skipped()
        if reasons and block.ids == dataset.ids:
            found |= reasons
        elif reasons:
            found |= {person: reasons[image_of(person)] for person in dataset.ids if image_of(person) in reasons}
    return dict(sorted(found.items()))


class Remaining:
    """A dataset without some of its images. It is divided as a whole first, so all others keep their places.

    Parameters
    ----------
    whole : Dataset
        With all images.
    skipped : mapping of str to str
        Ids to leave out, and why.
    """

    def __init__(self, whole: Dataset, skipped: Mapping[str, str]) -> None:
        self._whole = whole
        self._skipped = skipped
        self.record: DatasetRecord = whole.record
        self.limit: int | None = whole.limit
        self.ids: tuple[str, ...] = self._kept(whole.ids)
        self.labels: Labels = _labels_without(whole.labels, skipped)

    @property
    def images_sha256(self) -> str:
        """Identity of all images, those left out included: it is that of the blocks."""
        return self._whole.images_sha256

    def image(self, image_id: str) -> Image.Image:
        """Return one image in mode RGB; see `Dataset.image`."""
        return self._whole.image(image_id)

    def pictures(self, region: Region) -> Pictures:
        """Return what a net is shown of all images; see `Dataset.pictures`."""
        return self._whole.pictures(region)

    def splits(self) -> tuple[Split, ...]:
        """Return the protocol's splits without the images that are left out; see `Dataset.splits`."""
        return tuple(self._without(split) for split in self._whole.splits())

    def official_split(self) -> Split | None:
        """Return the division that the organisers' server tests, without images left out; see `official_split`."""
        split = self._whole.official_split() if isinstance(self._whole, SurveyedDataset) else None
        return None if split is None else self._without(split)

    def records(self) -> tuple[SkippedImage, ...]:
        """Say what is left out, why, and of which splits.

        Returns
        -------
        tuple of SkippedImage
            In order of ids.
        """
        splits = [(split.name, set(split.train), set(split.test)) for split in self._whole.splits()]
        return tuple(
            SkippedImage(
                id=image_id,
                reason=reason,
                training_in=tuple(name for name, train, _ in splits if image_id in train),
                test_in=tuple(name for name, _, test in splits if image_id in test),
            )
            for image_id, reason in self._skipped.items()
        )

    def _kept(self, ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(i for i in ids if i not in self._skipped)

    def _without(self, split: Split) -> Split:
        return replace(
            split, fit=self._kept(split.fit), validation=self._kept(split.validation), test=self._kept(split.test)
        )


def _labels_without(labels: Labels, skipped: Mapping[str, str]) -> Labels:
    if isinstance(labels, ClassLabels):
        return ClassLabels(
            classes=labels.classes, by_id={i: label for i, label in labels.by_id.items() if i not in skipped}
        )
    return MultiLabels(classes=labels.classes, by_id={i: row for i, row in labels.by_id.items() if i not in skipped})
