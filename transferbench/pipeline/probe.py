"""How long pictures take on this device: a few of them, through the real engine."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from transferbench.data.images import rescale, rescaled_size
from transferbench.data.pictures import Pictures
from transferbench.errors import BadImageError
from transferbench.pipeline.engines import AUTO, EngineOptions, described, open_engine
from transferbench.pipeline.forecast import Outline, work_of
from transferbench.pipeline.shards import KEPT_BYTES, n_workers
from transferbench.types import DescriptorSpec, UInt8

if TYPE_CHECKING:
    from PIL import Image

    from transferbench.extraction.engine import Engine

ENOUGH_S = 1.0
"""Of a scale; one picture is described at least, `MOST_PICTURES` at most."""
MOST_PICTURES = 4


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
    scales = [block.spec for block, ids in outline.to_do.items() if ids]
    chosen, decoding_s = _decoded(outline, pictures) if scales else ([], 0.0)
    if not chosen:
        return None
    start = time.perf_counter()
    engine = open_engine(outline.part, device, options)
    seconds, n_described = {}, 0
    for number, spec in enumerate(scales):
        if number == 0 or engine.device != "cpu":  # the first call sets up, on GPUs the first of every size
            _describe(engine, chosen[:1], spec)
        net_s, done = _timed(engine, chosen, spec)
        before = time.perf_counter()
        rescale(chosen[0], spec.short_side_px, spec.preprocessing.interpolation)
        beside_s = (decoding_s / len(outline.part.blocks) + time.perf_counter() - before) / n_workers()
        per_picture = max(net_s / done, beside_s)
        seconds[spec.short_side_px] = per_picture / work_of(spec, chosen[0].size)
        n_described += done
    return Probe(
        engine=described(engine),
        pictures=n_described,
        took_s=time.perf_counter() - start,
        seconds=seconds,
        memory_bytes=_memory(engine, outline),
    )


def _decoded(outline: Outline, pictures: Pictures) -> "tuple[list[Image.Image], float]":
    """Decode a few pictures of the commonest size; return them and the time that one took."""
    if not outline.geometry.sizes:
        return [], 0.0
    size, _ = Counter(outline.geometry.sizes.values()).most_common(1)[0]
    ids = [i for i, found in outline.geometry.sizes.items() if found == size][: 4 * MOST_PICTURES]
    found: list[Image.Image] = []
    start = time.perf_counter()
    for image_id in ids:
        try:
            found.append(pictures.image(image_id))
        except BadImageError:  # what to do about it is for extraction to ask
            continue
        if len(found) == MOST_PICTURES:
            break
    return found, (time.perf_counter() - start) / max(1, len(found))


def _timed(engine: "Engine", images: "list[Image.Image]", spec: DescriptorSpec) -> tuple[float, int]:
    start, done = time.perf_counter(), 0
    if engine.device != "cpu":  # a GPU wants a batch
        _describe(engine, images, spec)
        return time.perf_counter() - start, len(images)
    while done < len(images) and (done == 0 or time.perf_counter() - start < ENOUGH_S):
        _describe(engine, images[done : done + 1], spec)
        done += 1
    return time.perf_counter() - start, done


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
    from transferbench.nets.vgg import n_parameters
    from transferbench.recipe import TABLE_1

    spec = outline.part.blocks[0].spec
    largest = max(np.prod(rescaled_size(*size, block.spec.short_side_px)) * (2 if spec.flip else 1)
                  for size in set(outline.geometry.sizes.values()) for block in outline.part.blocks)  # fmt: skip
    weights = 4 * n_parameters(spec.net) if spec.net.name in TABLE_1 else 0
    decoded = 256 * 3 * max(width * height for width, height in outline.geometry.sizes.values())
    batch = max(int(largest), min(engine.batch_pixels, 256 * int(largest))) * engine.bytes_per_pixel
    return weights + batch + min(KEPT_BYTES, decoded)
