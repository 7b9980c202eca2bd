"""Writing a pack: shard after shard, each published whole, so that a stopped command goes on where it was."""

import hashlib
import io
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import PIL
from PIL import Image, features

from transferbench.data.encoded import FileImages, reading
from transferbench.data.images import PIXELS_VERSION, as_rgb, decoding, open_encoded, rescale
from transferbench.data.pack.layout import Member, PackOptions, PackPart, Shard, ShardName, shard_path
from transferbench.data.pack.tar import TAR_END, member_stem, padding, tar_header
from transferbench.errors import DatasetError, StorageError
from transferbench.files import publish, publish_file, sha256_file, storing, temporary_beside
from transferbench.types.identity import sha256_of

_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png"}
_CHROMA_HALVED = 2  # Pillow's name of 4:2:0
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class PartImages:
    """Images of a part in the order of its shards.

    Parameters
    ----------
    part : {"training", "held_out"}
        Which.
    ids : tuple of str
        In the dataset.
    files : tuple of str
        Of every id.
    class_numbers : tuple of int
        Of every id.
    """

    part: PackPart
    ids: tuple[str, ...]
    files: tuple[str, ...]
    class_numbers: tuple[int, ...]

    def shards(self, size: int) -> Iterator[tuple[int, "PartImages"]]:
        """Divide the images.

        Parameters
        ----------
        size : int
            Images in a shard.

        Yields
        ------
        tuple of int and PartImages
            Position of the first image in the part, and the images of one shard.
        """
        for start in range(0, len(self.ids), size):
            chosen = slice(start, start + size)
            yield start, PartImages(self.part, self.ids[chosen], self.files[chosen], self.class_numbers[chosen])


@dataclass(frozen=True, slots=True)
class PackedImage:
    """An image as it goes into a shard.

    Parameters
    ----------
    data : bytes
        A whole file.
    suffix : str
        ``jpg`` or ``png``, by content.
    kept : bool
        Whether it is the original file.
    """

    data: bytes
    suffix: str
    kept: bool


def software() -> dict[str, str]:
    """Name what decodes and compresses: with other versions a pack may have other bytes.

    Returns
    -------
    dict of str to str
        Versions.
    """
    return {
        "pillow": PIL.__version__,
        "libjpeg_turbo": str(features.version_feature("libjpeg_turbo") or "none"),
        "pixels_version": str(PIXELS_VERSION),
    }


def packed_image(data: bytes, where: str, options: PackOptions) -> PackedImage:
    """Make one image as small as the pack wants it; never larger than it is.

    Parameters
    ----------
    data : bytes
        The original file.
    where : str
        Its path, for messages.
    options : PackOptions
        Short side, quality, interpolation.

    Returns
    -------
    PackedImage
        The original file if its short side is no larger than wanted; it is decoded all the same, so that a damaged one
        is found now and not in the middle of a training.

    Raises
    ------
    DatasetError
        If the image is damaged.
    """
    image = open_encoded(data, where)
    suffix, is_small = _SUFFIXES[str(image.format)], min(image.size) <= options.short_side
    with decoding(where):
        image.load()
        if is_small:
            return PackedImage(data, suffix, kept=True)
        pixels = rescale(as_rgb(image), options.short_side, options.interpolation)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=options.quality, subsampling=_CHROMA_HALVED)
    return PackedImage(file.getvalue(), "jpg", kept=False)


def expected_bytes(parts: Sequence[PartImages], options: PackOptions, *, sample: int = 48) -> int:
    """Estimate how large a pack will be, from a few images that are packed for trial.

    Parameters
    ----------
    parts : sequence of PartImages
        What is to be packed.
    options : PackOptions
        How.
    sample : int
        How many images are tried, evenly spread over each part.

    Returns
    -------
    int
        Bytes of all tars; off by a few per cent.
    """
    total = 0.0
    for images in parts:
        chosen = images.files[:: max(1, len(images.files) // sample)]
        sizes = [len(one.data) for one in _packed(chosen, options)]
        # A header and, on average, half a block to fill for the image; a header and a block for its class.
        total += len(images.files) * (sum(sizes) / len(sizes) + 512 + 256 + 1024)
    return int(total)


def write_shard(
    folder: Path, number: int, first: int, images: PartImages, options: PackOptions, done: Callable[[int], None]
) -> tuple[ShardName, int]:
    """Write one shard, unless it is there.

    Parameters
    ----------
    folder : Path
        Of the pack.
    number : int
        Of the shard in its part.
    first : int
        Position of its first image in the part.
    images : PartImages
        Its images.
    options : PackOptions
        How.
    done : callable
        Told how many images are finished.

    Returns
    -------
    tuple of ShardName and int
        The shard, and how many of its images are original files.

    Raises
    ------
    DatasetError
        If an image is damaged.
    StorageError
        If the disk is full, or gives back other bytes than were written.
    """
    tar = shard_path(folder, images.part, number)
    sizes = [_size(file) for file in images.files]  # tells most changes of the originals, and costs nothing
    key = sha256_of([first, images.ids, images.class_numbers, sizes, asdict(options), software()])
    shard = finished(tar, key)
    if shard is None:
        shard = _write(tar, key, first, images, options, done)
        publish(tar.with_suffix(".json"), shard.to_bytes())
    else:
        done(len(shard.members))
    name = ShardName(
        part=images.part, number=number, images=len(shard.members), n_bytes=shard.n_bytes, sha256=shard.sha256
    )
    return name, sum(member.kept for member in shard.members)


def finished(tar: Path, key: str) -> Shard | None:
    """Look whether a shard is there, whole, and made from the same images in the same way.

    Parameters
    ----------
    tar : Path
        Where it should be.
    key : str
        Of what is wanted.

    Returns
    -------
    Shard or None
        None if it has to be written.
    """
    with suppress(DatasetError, OSError):
        shard = Shard.read(tar.with_suffix(".json"))
        if shard.key == key and tar.stat().st_size == shard.n_bytes and sha256_file(tar) == shard.sha256:
            return shard
    return None


def _size(file: str) -> int:
    with reading(file):
        return Path(file).stat().st_size


def _write(
    tar: Path, key: str, first: int, images: PartImages, options: PackOptions, done: Callable[[int], None]
) -> Shard:
    temporary = temporary_beside(tar)
    try:
        with storing(tar, 0):
            tar.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                members = tuple(_append(file, first, images, options, done))
                file.write(TAR_END)
        shard = Shard(key=key, n_bytes=temporary.stat().st_size, sha256=_read_back(temporary, members), members=members)
        publish_file(temporary, tar)
    finally:
        temporary.unlink(missing_ok=True)
    return shard


def _append(
    file: BinaryIO, first: int, images: PartImages, options: PackOptions, done: Callable[[int], None]
) -> Iterator[Member]:
    packed = _packed(images.files, options)
    for k, (image_id, number, one) in enumerate(zip(images.ids, images.class_numbers, packed, strict=True)):
        stem, label = member_stem(first + k, image_id), str(number).encode()
        file.write(tar_header(f"{stem}.{one.suffix}", len(one.data)))
        offset = file.tell()
        file.write(one.data + padding(len(one.data)))
        file.write(tar_header(f"{stem}.cls", len(label)) + label + padding(len(label)))
        yield Member(image_id, number, offset, len(one.data), zlib.crc32(one.data), one.kept)
        done(1)


def _packed(files: Sequence[str], options: PackOptions) -> Iterator[PackedImage]:
    """Pack images on all cores, in their order: Pillow lets other threads run while it decodes and encodes."""
    encoded = FileImages(files)
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        for start in range(0, len(files), _AT_ONCE):
            rows = range(start, min(start + _AT_ONCE, len(files)))
            yield from threads.map(lambda row: packed_image(encoded.read(row), encoded.where(row), options), rows)


def _read_back(path: Path, members: Sequence[Member]) -> str:
    """Hash a tar as the disk gives it back, and hold every image in it against what was written."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for member in members:
            digest.update(file.read(member.offset - file.tell()))
            data = file.read(member.length)
            if zlib.crc32(data) != member.crc32:
                msg = f"{path.parent}: the disk gave back other bytes than were written ({member.id}); check the disk"
                raise StorageError(msg)
            digest.update(data)
        digest.update(file.read())
    return digest.hexdigest()
