"""What an extraction has before it: block by block what is cached, what must be computed, and what that costs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from typing import Literal

from transferbench.cache.block import Block
from transferbench.cache.differences import differences
from transferbench.cache.store import StoredBlock
from transferbench.data import Dataset
from transferbench.data.images import rescaled_size
from transferbench.nets.costs import dense_macs, descriptor_dimensions
from transferbench.pipeline.geometry import Geometry, look
from transferbench.pipeline.plan import Part
from transferbench.recipe.names import TABLE_1
from transferbench.types.descriptors import DescriptorSpec
from transferbench.types.regions import Region

State = Literal["cached", "partial", "absent"]
_BYTES_PER_VALUE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockForecast:
    """One block of descriptors.

    Parameters
    ----------
    features : str
        Net and weights, for a person.
    region : {"image", "box"}
        What the net is shown.
    short_side_px : int
        Q.
    images : int
        Rows of the whole block.
    to_do : int
        Rows that must be computed.
    state : {"cached", "partial", "absent"}
        What is there.
    why : str
        Why it is not simply reused, or what it lacks; empty where there is nothing to say.
    macs : int or None
        Multiply-accumulate operations to do, mirrored images included; None for a net that is not of Table 1.
    n_bytes : int or None
        Of the rows to do, on disk; None where their length is not known before.
    seconds : float or None
        By the probe; None without one.
    block : str
        Its folder.
    """

    features: str
    region: Region
    short_side_px: int
    images: int
    to_do: int
    state: State
    why: str
    macs: int | None
    n_bytes: int | None
    seconds: float | None
    block: str


@dataclass(frozen=True, slots=True)
class Outline:
    """One part's blocks with the work in them, before any time is known.

    Parameters
    ----------
    part : Part
        A net over its scales.
    geometry : Geometry
        Of the pictures that it is shown.
    to_do : dict of Block to tuple of str
        Ids whose rows are missing, for every block.
    """

    part: Part
    geometry: Geometry
    to_do: dict[Block, tuple[str, ...]]

    def work(self, block: Block) -> float:
        """Sum up what is to be done for a block.

        Parameters
        ----------
        block : Block
            One of the part's.

        Returns
        -------
        float
            In the unit of `work_of`; scaled up where only a sample of the headers was read.
        """
        ids = self.to_do[block]
        looked = [size for i in ids if (size := self.geometry.sizes.get(i)) is not None]
        if not ids or not (looked := looked or list(self.geometry.sizes.values())):
            return 0.0
        known = sum(work_of(block.spec, size) * n for size, n in Counter(looked).items())
        return known * len(ids) / len(looked)


def work_of(spec: DescriptorSpec, size: tuple[int, int]) -> int:
    """Tell what a picture costs.

    Parameters
    ----------
    spec : DescriptorSpec
        Net, layer, scale and flip.
    size : tuple of int
        Width and height of the original, in px.

    Returns
    -------
    int
        Multiply-accumulate operations for the nets of Table 1; pixels for others, to which time is proportional.
    """
    width, height = rescaled_size(*size, spec.short_side_px)
    once = dense_macs(spec.net, width, height, layer=spec.layer) if spec.net.name in TABLE_1 else width * height
    return once * (2 if spec.flip else 1)


def outlines(parts: Sequence[Part], dataset: Dataset) -> list[Outline]:
    """Look at the cache and at the pictures.

    Parameters
    ----------
    parts : sequence of Part
        Nets, each with its blocks.
    dataset : Dataset
        Whose images.

    Returns
    -------
    list of Outline
        In the same order.

    Raises
    ------
    CacheError
        If a manifest is damaged.
    DatasetError
        If a file cannot be read.
    """
    seen: dict[Region, Geometry] = {}
    found = []
    for part in parts:
        region = part.blocks[0].spec.region
        if region not in seen:
            seen[region] = look(dataset.pictures(region))
        missing = {block: tuple(i for k in _missing(block) for i in block.rows(k)) for block in part.blocks}
        found.append(Outline(part, seen[region], missing))
    return found


def forecast(
    outline: Outline, stored: Sequence[StoredBlock], seconds: Mapping[int, float], name: str = ""
) -> list[BlockForecast]:
    """Tell of every block what is there and what it costs.

    Parameters
    ----------
    outline : Outline
        Of one part.
    stored : sequence of StoredBlock
        What the cache holds, to find similar blocks.
    seconds : mapping of int to float
        Time per unit of `work_of`, for every short side that was probed.
    name : str
        Of net and weights, where the part's own does not do.

    Returns
    -------
    list of BlockForecast
        In order of scale.
    """
    found = []
    for block, ids in outline.to_do.items():
        spec, work = block.spec, outline.work(block)
        in_table = spec.net.name in TABLE_1
        dimensions = descriptor_dimensions(spec.net, spec.layer) if in_table else None
        rate = seconds.get(spec.short_side_px)
        state: State = "cached" if block.is_complete() else "absent" if len(ids) == len(block.ids) else "partial"
        found.append(
            BlockForecast(
                features=name or outline.part.name,
                region=spec.region,
                short_side_px=spec.short_side_px,
                images=len(block.ids),
                to_do=len(ids),
                state=state,
                why=_why(block, state, stored),
                macs=round(work) if in_table else None,
                n_bytes=None if dimensions is None else len(ids) * dimensions * _BYTES_PER_VALUE,
                seconds=0.0 if not ids else None if rate is None else rate * work,
                block=str(block.folder),
            )
        )
    return found


def free_disk(folder: Path) -> int:
    """Ask how much may be written to a folder that need not be there yet.

    Parameters
    ----------
    folder : Path
        For instance the cache's root.

    Returns
    -------
    int
        Bytes.
    """
    while not folder.exists():
        folder = folder.parent
    return disk_usage(folder).free


def _missing(block: Block) -> list[int]:
    """List shards to compute. Looks at no content: a damaged shard of an unfinished block is found by extraction."""
    return [] if block.is_complete() else block.absent_shards()


def _why(block: Block, state: State, stored: Sequence[StoredBlock]) -> str:
    if state == "cached":
        skipped = block.skipped()
        return f"without {len(skipped)} skipped image(s)" if skipped else ""
    if state == "partial":
        absent = len(block.absent_shards())
        return f"{block.n_shards - absent} of {block.n_shards} shards are there"
    similar = [
        (differences(block.spec, other.spec), other)
        for other in stored
        if other.spec is not None
        and (other.spec.dataset, other.spec.net.name) == (block.spec.dataset, block.spec.net.name)
        and other.folder != block.folder
    ]
    if not similar:
        return "no similar block"
    fields, nearest = min(similar, key=lambda found: (len(found[0]), found[1].name))
    told = ", ".join(f"{field} is {theirs} there, {ours} here" for field, ours, theirs in fields)
    return f"nearest: {nearest.name}: {told}"
