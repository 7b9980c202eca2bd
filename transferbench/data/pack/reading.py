"""A pack as a dataset to pretrain on: any image by position, with a check of its bytes."""

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from transferbench.data.encoded import reading
from transferbench.data.images import as_rgb, decoding, open_encoded
from transferbench.data.own import own_record
from transferbench.data.pack.layout import PARTS, Pack, PackPart, Shard, ShardName
from transferbench.data.place import Place
from transferbench.data.record import DatasetRecord
from transferbench.data.survey import Finding
from transferbench.data.trial import first_of_every_class, trial_record
from transferbench.errors import DatasetError
from transferbench.files import sha256_file
from transferbench.types.arrays import Int64
from transferbench.types.labels import ClassLabels, Labels


class PackedImages:
    """Compressed images in shards. A file is opened when it is first read; processes may share it.

    Parameters
    ----------
    tars : sequence of Path
        The shards.
    members : ndarray of shape (n, 4), int64
        Shard, offset, length and CRC-32 of every image.
    """

    def __init__(self, tars: Sequence[Path], members: Int64) -> None:
        self._tars = [str(tar) for tar in tars]
        self._members = members
        self._open: dict[int, int] = {}

    def __getstate__(self) -> tuple[list[str], Int64]:
        return self._tars, self._members

    def __setstate__(self, state: tuple[list[str], Int64]) -> None:
        self._tars, self._members = state
        self._open = {}

    def __del__(self) -> None:
        for handle in self._open.values():
            os.close(handle)

    def rows(self, chosen: Int64) -> "PackedImages":
        """Take some of the images.

        Parameters
        ----------
        chosen : ndarray of int64
            Their rows, in the order wanted.

        Returns
        -------
        PackedImages
            Rows count anew.
        """
        return PackedImages([Path(tar) for tar in self._tars], self._members[chosen])

    def where(self, row: int) -> str:
        """Tell a person where an image is.

        Parameters
        ----------
        row : int
            From 0.

        Returns
        -------
        str
            The shard, and where in it.
        """
        shard, offset, length, _ = map(int, self._members[row])
        return f"{self._tars[shard]} (bytes {offset:,} to {offset + length:,})"

    def read(self, row: int) -> bytes:
        """Read an image file.

        Parameters
        ----------
        row : int
            From 0.

        Returns
        -------
        bytes
            All of it.

        Raises
        ------
        DatasetError
            If the shard is missing, too short or changed.
        """
        shard, offset, length, crc32 = map(int, self._members[row])
        with reading(self._tars[shard]):
            # A read at a place moves nothing, so that processes which inherited an open file do not disturb each other.
            data = os.pread(self._handle(shard), length, offset)
        if len(data) != length or zlib.crc32(data) != crc32:
            msg = (
                f"{self.where(row)}: the image has changed since it was packed.\n"
                "  tb datasets pack, with the same options, writes this shard again and keeps the others."
            )
            raise DatasetError(msg)
        return data

    def _handle(self, shard: int) -> int:
        if shard not in self._open:
            self._open[shard] = os.open(self._tars[shard], os.O_RDONLY)
        return self._open[shard]


class PackedDataset:
    """A dataset to pretrain on, read from a pack.

    Parameters
    ----------
    record : DatasetRecord or None
        Of what was packed; None for the user's own images, whose record is made up from what the pack holds.
    place : Place
        Its folder is that of the pack.

    Raises
    ------
    DatasetError
        If the pack is of another dataset, incomplete or damaged.
    """

    def __init__(self, record: DatasetRecord | None, place: Place) -> None:
        self.pack = Pack.read(place.folder)
        self.limit: int | None = place.limit
        if record is not None:
            _refuse_another(self.pack, record, place.folder)
        ids: list[str] = []
        numbers: list[int] = []
        blocks: list[Int64] = []
        parts: dict[PackPart, list[str]] = {part: [] for part in PARTS}
        for k, (name, shard) in enumerate(_shards(self.pack, place.folder)):
            ids += (of_shard := [member.id for member in shard.members])
            parts[name.part] += of_shard
            numbers += [member.class_number for member in shard.members]
            blocks.append(
                np.array([[k, member.offset, member.length, member.crc32] for member in shard.members], dtype=np.int64)
            )
        self._row = {image_id: row for row, image_id in enumerate(ids)}
        labels = ClassLabels(classes=self.pack.classes, by_id=dict(zip(ids, numbers, strict=True)))
        record = record or _own_record(self.pack, parts, labels, place.folder)
        if place.limit is not None:
            record = trial_record(record, place.limit)
            parts = {part: list(first_of_every_class(labels, held, place.limit)) for part, held in parts.items()}
        self._parts = {part: tuple(sorted(held)) for part, held in parts.items()}
        self.record: DatasetRecord = record
        self.ids: tuple[str, ...] = tuple(sorted(set(self._parts["training"]) | set(self._parts["held_out"])))
        self.labels: Labels = ClassLabels(classes=self.pack.classes, by_id={i: labels.by_id[i] for i in self.ids})
        self._images = PackedImages([name.tar(place.folder) for name in self.pack.shards], np.concatenate(blocks))

    @property
    def images_sha256(self) -> str:
        """Identity of the pack's content."""
        return self.pack.sha256

    def encoded(self, ids: Sequence[str]) -> PackedImages:
        """Return compressed images in an order.

        Parameters
        ----------
        ids : sequence of str
            Some of `ids`.

        Returns
        -------
        PackedImages
            Row k is the image of id k.
        """
        return self._images.rows(np.array([self._row[image_id] for image_id in ids], dtype=np.int64))

    def image(self, image_id: str) -> Image.Image:
        """Decode one image.

        Parameters
        ----------
        image_id : str
            One of `ids`.

        Returns
        -------
        PIL.Image.Image
            In mode RGB, as it was packed.

        Raises
        ------
        DatasetError
            If it has changed.
        """
        row = self._row[image_id]
        where = self._images.where(row)
        image = open_encoded(self._images.read(row), where)
        with decoding(where):
            return as_rgb(image)

    def training_and_held_out(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the division that was packed.

        Returns
        -------
        tuple of two tuples of str
            Images to train on, images to watch; sorted ids.
        """
        return self._parts["training"], self._parts["held_out"]


def check_pack(folder: Path) -> Iterator[Finding]:
    """Hold every shard of a pack against its hash.

    Parameters
    ----------
    folder : Path
        Of the pack.

    Yields
    ------
    Finding
        One for every shard.
    """
    pack = Pack.read(folder)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        yield from threads.map(lambda name: _checked(name, folder), pack.shards)


def _checked(name: ShardName, folder: Path) -> Finding:
    tar, todo = name.tar(folder), "tb datasets pack, with the same options, writes it again"
    try:
        Shard.read(tar.with_suffix(".json"))
        if sha256_file(tar) == name.sha256:
            return Finding("ok", f"{name.images:,} images, as they were packed", tar.name)
    except FileNotFoundError:
        return Finding("missing", "there is no such shard", tar.name, todo)
    except (DatasetError, OSError) as problem:
        return Finding("corrupt", str(problem).splitlines()[0], tar.name, todo)
    return Finding("corrupt", "has changed since it was packed", tar.name, todo)


def _shards(pack: Pack, folder: Path) -> Iterator[tuple[ShardName, Shard]]:
    for name in pack.shards:
        tar = name.tar(folder)
        shard = Shard.read(tar.with_suffix(".json"))
        with reading(str(tar)):
            is_whole = tar.stat().st_size == name.n_bytes
        if not is_whole or shard.sha256 != name.sha256 or len(shard.members) != name.images:
            msg = f"{tar}: is not the shard that {folder / 'pack.json'} states.\n  tb datasets pack writes it again."
            raise DatasetError(msg)
        yield name, shard


def _refuse_another(pack: Pack, record: DatasetRecord, folder: Path) -> None:
    if pack.dataset != record.name or pack.classes != record.classes:
        what = "other classes" if pack.dataset == record.name else f"the dataset {pack.dataset}"
        msg = (
            f"{folder}: is a pack of {what}, not of {record.name} as its record states it.\n  Give another --data-dir."
        )
        raise DatasetError(msg)


def _own_record(
    pack: Pack, parts: Mapping[PackPart, Sequence[str]], labels: ClassLabels, folder: Path
) -> DatasetRecord:
    names = {
        "train": [labels.classes[labels.by_id[i]] for i in parts["training"]],
        "test": [labels.classes[labels.by_id[i]] for i in parts["held_out"]],
    }
    made_up = own_record(f"imagefolder:{folder}", "own_folder", names, f"packed in {folder}")
    return made_up.model_copy(update={"name": pack.dataset})
