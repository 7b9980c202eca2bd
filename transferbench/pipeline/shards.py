"""One shard: images are decoded once for all scales, described scale by scale, and published."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from transferbench import environment
from transferbench.cache.block import Block
from transferbench.data.images import rescale, rescaled_size
from transferbench.data.pictures import Pictures
from transferbench.errors import BadImageError, DatasetError, DeviceError
from transferbench.pipeline.spent import EVERY_SCALE, Spent
from transferbench.types.arrays import Float32, UInt8

if TYPE_CHECKING:
    from transferbench.extraction.engine import Engine
    from transferbench.extraction.prefetch import Prefetch

OnBadImage = Literal["stop", "skip"]
"""What to do about an image that cannot be decoded: stop by name, or leave it out and record it."""

KEPT_BYTES = 1 << 29
"""Of decoded images: 256 of 1000 x 600 px. What is beyond is decoded again for every scale."""

_MOST_WORKERS = 8


def n_workers() -> int:
    """Count the threads that decode and rescale.

    Returns
    -------
    int
        One less than there are cores, but at least one; what is beyond eight waits for the net.
    """
    return max(1, min(_MOST_WORKERS, environment.cores() - 1))


class ShardImages:
    """The images of one shard, in row order.

    Parameters
    ----------
    pictures : Pictures
        Where they come from.
    ids : sequence of str
        The rows.
    prefetch : Prefetch
        Decodes and rescales.
    on_bad_image : {"stop", "skip"}
        What to do about an image that cannot be decoded.
    spent : Spent, optional
        Told how long everything takes.

    Raises
    ------
    DatasetError
        If a file is missing, or damaged and not to be skipped: the first one.
    """

    def __init__(
        self,
        pictures: Pictures,
        ids: Sequence[str],
        prefetch: "Prefetch",
        on_bad_image: OnBadImage = "stop",
        spent: Spent | None = None,
    ) -> None:
        self._pictures, self._prefetch = pictures, prefetch
        self.spent = spent or Spent()
        self._kept: dict[int, Image.Image] = {}
        self._ids: list[str] = []
        self._sizes: list[tuple[int, int]] = []
        self.skipped: dict[str, str] = {}
        """Ids of images that cannot be decoded, and why; what follows counts positions among the others."""
        left = KEPT_BYTES
        # How large an image is shows when it is decoded: few at a time.
        decoded = self.spent.waiting(prefetch.map(self._decoded, ids, lambda _id: _DECODED_BYTES), EVERY_SCALE)
        for image_id, image in zip(ids, decoded, strict=True):
            if isinstance(image, BadImageError):
                self._skip(image_id, image, on_bad_image)
                continue
            if (n_bytes := 3 * image.width * image.height) <= left:
                self._kept[len(self._ids)] = image
                left -= n_bytes
            self._ids.append(image_id)
            self._sizes.append(image.size)

    def _decoded(self, image_id: str) -> "Image.Image | BadImageError":
        try:
            with self.spent.on("decode"):
                return self._pictures.image(image_id)
        except BadImageError as bad:  # returned, so that the first in row order counts, not the first in time
            return bad

    def _skip(self, image_id: str, bad: BadImageError, on_bad_image: OnBadImage) -> None:
        if on_bad_image == "stop":
            msg = (
                f"image {image_id!r} cannot be decoded: {bad.path}: {bad.reason}\n"
                f"  {bad.todo.rstrip('.') or 'Get the file again'}; or go on without it: --on-bad-image skip"
            )
            raise DatasetError(msg) from bad
        self.skipped[image_id] = bad.reason

    def sizes(self, short_side_px: int) -> list[tuple[int, int]]:
        """Tell how large the images are at a scale.

        Parameters
        ----------
        short_side_px : int
            Q.

        Returns
        -------
        list of (width, height)
            One per image that is not skipped.
        """
        return [rescaled_size(*size, short_side_px) for size in self._sizes]

    def rescaled(self, block: Block) -> Callable[[Iterable[int]], Iterator[UInt8]]:
        """Make what gives the images at a block's scale.

        Parameters
        ----------
        block : Block
            Its spec says how they are rescaled.

        Returns
        -------
        callable
            Maps positions to (H, W, 3) bytes, in that order.
        """
        side, interpolation = block.spec.short_side_px, block.spec.preprocessing.interpolation
        sizes = self.sizes(side)

        def prepare(position: int) -> UInt8:
            image = self._kept.get(position)
            if image is None:
                with self.spent.on("decode", side):
                    image = self._pictures.image(self._ids[position])
            with self.spent.on("rescale", side):
                return rescale(image, side, interpolation)

        def n_bytes(position: int) -> int:
            width, height = self._sizes[position]
            beside = 0 if position in self._kept else width * height
            return 3 * (sizes[position][0] * sizes[position][1] + beside)

        return lambda positions: self.spent.waiting(self._prefetch.map(prepare, positions, n_bytes), side)

    def refuse_too_large(self, engine: "Engine", short_side_px: int) -> None:
        """Refuse images that do not fit into memory at a scale, before anything is computed; see `refuse_too_large`."""
        sizes = dict(zip(self._ids, self._sizes, strict=True))
        refuse_too_large(engine, sizes, short_side_px)


_DECODED_BYTES = 1 << 24
_NO_ROWS: Float32 = np.empty((0, 0), dtype=np.float32)


def refuse_too_large(engine: "Engine", sizes: Mapping[str, tuple[int, int]], short_side_px: int) -> None:
    """Refuse images whose rescaled pixels, or a net's maps of them, do not fit into the memory that is free.

    A system that has promised more memory than it has ends the process without a word when it is used; so it is told
    beforehand, and of which image.

    Parameters
    ----------
    engine : Engine
        What is to describe them.
    sizes : mapping of str to (width, height)
        By id, in px, as stored.
    short_side_px : int
        Q.

    Raises
    ------
    DeviceError
        If there is one; the largest is named.
    """
    from transferbench.extraction.engine import image_bytes
    from transferbench.extraction.memory import free_bytes

    if not sizes:
        return
    rescaled = {image_id: rescaled_size(*size, short_side_px) for image_id, size in sizes.items()}
    worst = max(rescaled, key=lambda image_id: rescaled[image_id][0] * rescaled[image_id][1])
    width, height = rescaled[worst]
    remedy = "Leave out that scale or take the image out of the dataset"
    if engine.band_pixels is None:
        remedy += "; a net of Table 1 would take it in bands"
    # Its bytes wait in the machine's memory, whatever the device.
    for device, n_bytes in ((engine.device, image_bytes(engine, width * height)), ("cpu", 9 * width * height)):
        if n_bytes > (free := free_bytes(device)):
            msg = (
                f"image {worst!r} of {sizes[worst][0]} x {sizes[worst][1]} px has {width} x {height} px at scale "
                f"{short_side_px}, which take about {n_bytes / 1e9:,.1f} GB; {device} has {free / 1e9:,.1f} GB free.\n"
                f"  {remedy}."
            )
            raise DeviceError(msg)


def compute(
    engine: "Engine",
    images: ShardImages,
    index: int,
    blocks: Sequence[Block],
    *,
    done: Callable[[int], None],
    warn: Callable[[str], None],
) -> None:
    """Describe and publish one shard at several scales.

    Parameters
    ----------
    engine : Engine
        Runs the net.
    images : ShardImages
        Of the shard.
    index : int
        Which shard.
    blocks : sequence of Block
        The scales; the caller has claimed the shard in each.
    done : callable
        Told how many descriptors a batch finished.
    warn : callable
        Told what a person should know.

    Raises
    ------
    DeviceError
        If an image does not fit into memory, not even alone.
    FeatureError
        If a descriptor is zero or not finite.
    StorageError
        If the disk does not take a shard.
    """
    from transferbench.extraction.dense import describe

    spent = images.spent
    for block in blocks:
        images.refuse_too_large(engine, block.spec.short_side_px)

    def publish(block: Block, rows: Float32) -> None:
        with spent.on("write", block.spec.short_side_px):
            block.write(index, rows, images.skipped)

    # A shard is hashed and written while the next scale is computed.
    with ThreadPoolExecutor(1, thread_name_prefix="publish") as publisher:
        written = []
        for block in blocks:
            side, rows = block.spec.short_side_px, _NO_ROWS
            if sizes := images.sizes(side):
                with spent.on("describe", side):
                    rows = describe(engine, sizes, images.rescaled(block), flip=block.spec.flip, done=done, warn=warn)
            done(len(images.skipped))
            written.append(publisher.submit(publish, block, rows))
        with spent.on("disk"):
            for each in written:
                each.result()
