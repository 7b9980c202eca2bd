"""scikit-learn's bundled handwritten digits: real data that needs no download, for the first run and for tests."""

import hashlib
from functools import cache

import numpy as np
from PIL import Image

from transferbench.data.pictures import Pictures, no_boxes
from transferbench.data.place import HERE, Place
from transferbench.data.random_splits import ranked
from transferbench.data.record import DatasetRecord, Part, load_record
from transferbench.data.splits import splits_of
from transferbench.data.trial import first_of_every_class, trial_record
from transferbench.errors import DatasetError
from transferbench.types.arrays import Int64, UInt8
from transferbench.types.identity import sha256_of
from transferbench.types.labels import ClassLabels, Labels
from transferbench.types.regions import Region
from transferbench.types.split import Split

N_SOURCE = 1000
_HELD_OUT_EVERY = 10
_GREY_LEVELS = 16
_DIVISION_SEED = 2015


class Digits:
    """One part of the digits: ``source`` for pretraining, ``target`` for transfer.

    Parameters
    ----------
    part : {"source", "target"}
        The two share no image.
    place : Place
        Only its limit counts.

    Raises
    ------
    DatasetError
        If the installed scikit-learn ships other digits, or the division is not the recorded one.
    """

    def __init__(self, part: str, place: Place = HERE) -> None:
        self.record: DatasetRecord = load_record("digits")
        self.limit: int | None = place.limit
        self._pixels, numbers, pixels_sha256 = _bundled()
        _expect("pixels and labels", pixels_sha256, self.record.images_sha256)
        source = ranked((_id(i) for i in range(len(numbers))), _DIVISION_SEED, 0)[:N_SOURCE]
        everything = {_id(i): int(n) for i, n in enumerate(numbers)}
        members = sorted(source if part == "source" else everything.keys() - set(source))
        stated: Part = self.record.parts[part]
        _expect(f"ids of the {part} part", sha256_of(members), stated.ids_sha256)
        labels = ClassLabels(classes=self.record.classes, by_id={i: everything[i] for i in members})
        if place.limit is not None:
            members = list(first_of_every_class(labels, members, place.limit))
            self.record = trial_record(self.record, place.limit)
        self.ids: tuple[str, ...] = tuple(members)
        self.labels: Labels = ClassLabels(classes=self.record.classes, by_id={i: everything[i] for i in members})
        self.images_sha256: str = sha256_of([self.record.images_sha256, members])

    def image(self, image_id: str) -> Image.Image:
        """Return one digit.

        Parameters
        ----------
        image_id : str
            One of `ids`.

        Returns
        -------
        PIL.Image.Image
            8 x 8 px, RGB with equal channels.
        """
        grey = self._pixels[int(image_id.removeprefix("digit-"))]
        return Image.fromarray(grey, mode="L").convert("RGB")

    def pictures(self, region: Region) -> Pictures:
        """Return what a net is shown.

        Parameters
        ----------
        region : {"image", "box"}
            There are whole images only.

        Returns
        -------
        Pictures
            The digits themselves.

        Raises
        ------
        DatasetError
            If boxes are asked for.
        """
        if region == "box":
            raise no_boxes(self.record.name)
        return self

    def splits(self) -> tuple[Split, ...]:
        """Divide the part as the record's protocol says.

        Returns
        -------
        tuple of Split
            Three, for the target part.
        """
        return splits_of(self.record, self.labels, {})

    def training_and_held_out(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Divide the part for pretraining.

        Returns
        -------
        tuple of two tuples of str
            Nine tenths to train on, one tenth to watch; sorted ids.
        """
        order = ranked(self.ids, _DIVISION_SEED, 1)
        held_out = order[: len(order) // _HELD_OUT_EVERY]
        return tuple(sorted(set(order) - set(held_out))), tuple(sorted(held_out))


def _id(number: int) -> str:
    return f"digit-{number:04d}"


@cache
def _bundled() -> tuple[UInt8, Int64, str]:
    """Return images (1797, 8, 8), class numbers (1797,) and the hash of both."""
    # scikit-learn takes over a second to import; a program that evaluates another dataset should not pay for it.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    bundle = load_digits()
    # The file holds whole numbers 0..16; 255 / 16 spreads them over the range of a byte.
    pixels = np.rint(bundle.images * (255 / _GREY_LEVELS)).astype(np.uint8)
    numbers = bundle.target.astype(np.int64)
    return pixels, numbers, hashlib.sha256(pixels.tobytes() + numbers.astype("<i8").tobytes()).hexdigest()


def _expect(what: str, found: str, stated: str | None) -> None:
    if found != stated:
        msg = (
            f"digits: {what} are not the recorded ones.\n  Found:    sha256 {found}\n  Recorded: "
            f"sha256 {stated} (datasets/digits/dataset.yaml)\n"
            "  Install the scikit-learn version named in constraints.txt; scores on other digits do not compare."
        )
        raise DatasetError(msg)
