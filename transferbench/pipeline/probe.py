"""How long pictures take on this device: a few of them, through the real engine."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transferbench.cache.shard import ROWS_PER_SHARD
from transferbench.data.images import rescale, rescaled_size
from transferbench.data.pictures import Pictures
from transferbench.errors import BadImageError
from transferbench.nets.vgg import n_parameters
from transferbench.pipeline.engines import AUTO, EngineOptions, described, open_engine
from transferbench.pipeline.forecast import Outline, work_of
from transferbench.pipeline.shards import KEPT_BYTES, n_workers
from transferbench.recipe.names import TABLE_1
from transferbench.types.arrays import UInt8
from transferbench.types.descriptors import DescriptorSpec

if TYPE_CHECKING:
    from PIL import Image

    from transferbench.extraction.engine import Engine

ENOUGH_S = 1.0
"""Of a scale; one call is made at least, `MOST_CALLS` at most."""
MOST_CALLS = 4
MOST_PICTURES = 16
BATCH_PIXELS = 1 << 19
"""Of pictures described at once, mirror images included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a few pictures told.

    Parameters
    ----------
    engine : str
        Device, engine and precision, for a person.
    pictures : int
        How many were described, all scales together.
    took_s : float
        Wall time, the making of the engine included.
    seconds : dict of int to float
        For every short side the time per unit of `work_of`: of the net, or of decoding and rescaling on all workers
        where that takes longer.
    memory_bytes : int
        Of the largest batch, the weights and the decoded images of a shard.
    """

    engine: str
    pictures: int
    took_s: float
    seconds: dict[int, float]
    memory_bytes: int


def probe(outline: Outline, pictures: Pictures, device: str, options: EngineOptions = AUTO) -> Probe | None:
    """Time the net of a part at every scale where something is to be done.

    Parameters
    ----------
    outline : Outline
        Of the part.
    pictures : Pictures
        What it is shown.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    options : EngineOptions
        As extraction would be told.

    Returns
    -------
    Probe or None
        None where nothing is to be done, or no picture can be decoded.

    Raises
    ------
    DeviceError
        If the device or the engine is not there.
    """
    if not any(outline.to_do.values()):
        return None
    start = time.perf_counter()
    engine = open_engine(outline.part, device, options)
    trial = try_out(engine, outline, pictures)
    if trial is None:
        return None
    return Probe(
        engine=described(engine),
        pictures=trial.pictures,
        took_s=time.perf_counter() - start,
        seconds=trial.seconds,
        memory_bytes=_memory(engine, outline),
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """What an engine took for a few pictures.

    Parameters
    ----------
    seconds : dict of int to float
        As in `Probe`.
    pictures : int
        How many were described, all scales together.
    """

    seconds: dict[int, float]
    pictures: int


def try_out(
    engine: "Engine", outline: Outline, pictures: Pictures, *, most: int = MOST_PICTURES, enough_s: float = ENOUGH_S
) -> Trial | None:
    """Time an engine at every scale where something is to be done.

    Parameters
    ----------
    engine : Engine
        Of the part.
    outline : Outline
        Of the part.
    pictures : Pictures
        What it is shown.
    most : int
        Pictures, at every scale the same.
    enough_s : float
        Of a scale; a call that is begun is ended.

    Returns
    -------
    Trial or None
        None where nothing is to be done, or no picture can be decoded.
    """
    scales = [block.spec for block, ids in outline.to_do.items() if ids]
    chosen, decoding_s = _decoded(outline, pictures, most) if scales else ([], 0.0)
    if not chosen:
        return None
    seconds, n_described = {}, 0
    for spec in scales:
        net_s, done = _per_picture(engine, chosen, spec, enough_s)
        before = time.perf_counter()
        rescale(chosen[0], spec.short_side_px, spec.preprocessing.interpolation)
        beside_s = (decoding_s / len(outline.part.blocks) + time.perf_counter() - before) / n_workers()
        seconds[spec.short_side_px] = max(net_s, beside_s) / work_of(spec, chosen[0].size)
        n_described += done
    return Trial(seconds, n_described)


def _decoded(outline: Outline, pictures: Pictures, most: int) -> "tuple[list[Image.Image], float]":
    """Decode a few pictures of the commonest size; return them and the time that one took."""
    if not outline.geometry.sizes:
        return [], 0.0
    size, _ = Counter(outline.geometry.sizes.values()).most_common(1)[0]
    ids = [i for i, found in outline.geometry.sizes.items() if found == size][: 2 * most]
    found: list[Image.Image] = []
    start = time.perf_counter()
    for image_id in ids:
        try:
            found.append(pictures.image(image_id))
        except BadImageError:  # what to do about it is for extraction to ask
            continue
        if len(found) == most:
            break
    return found, (time.perf_counter() - start) / max(1, len(found))


def _per_picture(
    engine: "Engine", images: "list[Image.Image]", spec: DescriptorSpec, enough_s: float
) -> tuple[float, int]:
    """Describe pictures until enough time has passed; return the time of one, and how many there were.

    The quickest call counts: the first one sets things up, and others may be disturbed.
    """
    width, height = rescaled_size(*images[0].size, spec.short_side_px)
    together = max(1, min(len(images), BATCH_PIXELS // (width * height * (2 if spec.flip else 1))))
    times: list[float] = []
    while not times or (len(times) < MOST_CALLS and sum(times) < enough_s):
        start = time.perf_counter()
        _describe(engine, images[:together], spec)
        times.append(time.perf_counter() - start)
    return min(times) / together, together * len(times)


def _describe(engine: "Engine", images: "list[Image.Image]", spec: DescriptorSpec) -> None:
    from transferbench.extraction.dense import describe

    side, interpolation = spec.short_side_px, spec.preprocessing.interpolation
    rescaled: list[UInt8] = [rescale(image, side, interpolation) for image in images]
    sizes = [rescaled_size(*image.size, side) for image in images]
    describe(
        engine, sizes, lambda positions: (rescaled[p] for p in positions), flip=spec.flip,
        done=lambda _n: None, warn=lambda _line: None,
    )  # fmt: skip


def _memory(engine: "Engine", outline: Outline) -> int:
    from transferbench.extraction.engine import image_bytes

    spec, sizes = outline.part.blocks[0].spec, set(outline.geometry.sizes.values())
    rescaled = {rescaled_size(*size, b.spec.short_side_px) for size in sizes for b in outline.part.blocks}
    largest = max(width * height for width, height in rescaled)
    weights = 4 * n_parameters(spec.net) if spec.net.name in TABLE_1 else 0
    decoded = ROWS_PER_SHARD * 3 * max(width * height for width, height in sizes)
    batch = min(engine.batch_pixels, ROWS_PER_SHARD * largest * (2 if spec.flip else 1)) * engine.bytes_per_pixel
    # What is larger than a batch goes alone, in bands where the net can take it so.
    return weights + max(batch, image_bytes(engine, largest)) + min(KEPT_BYTES, decoded)
