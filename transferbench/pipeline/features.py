"""Blocks of the cache → features, in parts."""

from collections.abc import Iterator

from transferbench.cache.block import Block
from transferbench.cache.shard import ROWS_PER_SHARD
from transferbench.data.people import image_of
from transferbench.evaluation.aggregate import AGGREGATORS, FeatureParts, Source
from transferbench.evaluation.shared import shared
from transferbench.pipeline.plan import REGION_WORDS, Variant
from transferbench.recipe.transfer import Recipe
from transferbench.types.arrays import Float32


def features_of(variant: Variant, recipe: Recipe, ids: tuple[str, ...]) -> FeatureParts:
    """Prepare a variant's features; nothing is read yet.

    Parameters
    ----------
    variant : Variant
        Whose blocks are complete.
    recipe : Recipe
        Says how they are aggregated.
    ids : tuple of str
        Which of the dataset's are wanted: those that have descriptors.

    Returns
    -------
    FeatureParts
        A row for every id.
    """
    nets = [[source_of(block, ids) for block in part.blocks] for part in variant.parts]
    return FeatureParts(nets, AGGREGATORS[recipe.aggregate.kind], recipe.aggregate.l2)


def source_of(block: Block, wanted: tuple[str, ...]) -> Source:
    """Read a block as a source of descriptors.

    Parameters
    ----------
    block : Block
        Complete.
    wanted : tuple of str
        Ids: those of the block, without images left out, or people in its photographs.

    Returns
    -------
    Source
        A row for every id that is wanted.
    """

    def chunks() -> Iterator[Float32]:
        return (shard.array for shard in block.shards() if shard.ids)

    region, skipped = REGION_WORDS[block.spec.region], block.skipped()
    ids = tuple(i for i in block.ids if i not in skipped)
    source = Source(f"{block.spec.net} at {block.spec.short_side_px} px{region}", ids, chunks, block.spec.key())
    if block.ids == wanted:
        return source
    # Several people share a photograph, or images are left out, here or in another block: chunks as if nothing was.
    mine = set(ids)
    whose = [i if i in mine else image_of(i) for i in wanted]
    return shared(source, wanted, whose, ROWS_PER_SHARD)
