"""What an experiment consists of: variants (the recipe and its floors), their nets, a cache block per scale."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from transferbench.cache.block import Block
from transferbench.data import Dataset
from transferbench.data.images import PIXELS_VERSION
from transferbench.errors import WeightsError
from transferbench.home import Home
from transferbench.nets.vgg import LAYERS
from transferbench.pipeline.weights import ChosenWeights, choose, draw
from transferbench.recipe.transfer import RandomWeightsFloor, RawPixelsFloor, Recipe, ShuffledLabelsFloor
from transferbench.types.descriptors import DescriptorSpec
from transferbench.types.net import N_POOLINGS, NetSpec
from transferbench.types.preprocessing import Preprocessing
from transferbench.types.regions import Region
from transferbench.types.scales import Scales

PRETRAINED = "pretrained"
GRID_PX = 2**N_POOLINGS
REGION_WORDS: dict[Region, str] = {"image": "", "box": ", boxes of people"}


Find = Callable[..., ChosenWeights]
Draw = Callable[[NetSpec, Preprocessing, int, Home], ChosenWeights]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One net over all its scales.

    Parameters
    ----------
    weights : ChosenWeights or None
        None stands for raw pixels.
    blocks : tuple of Block
        One per scale, ascending.
    """

    weights: ChosenWeights | None
    blocks: tuple[Block, ...]

    @property
    def is_random(self) -> bool:
        """Whether the net has learnt nothing."""
        return self.weights is not None and self.weights.header.origin.get("kind") == "random"

    @property
    def name(self) -> str:
        """Net, weights and what the net is shown if that is not the whole image, for a person."""
        spec = self.blocks[0].spec
        region = REGION_WORDS[spec.region]
        if self.weights is None:
            return f"raw pixels{region}"
        weights = "random weights" if self.is_random else f"weights {spec.weights_sha256[:8]}"
        return f"{spec.net}, {weights}{region}"

    @property
    def title(self) -> str:
        """Net, weights and scales, for a person."""
        scales = ", ".join(str(block.spec.short_side_px) for block in self.blocks)
        return f"{self.name}{'' if self.weights is None else ','} at {scales} px"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One line of the result: the recipe's own features, or a floor.

    Parameters
    ----------
    name : str
        ``pretrained``, ``random weights``, ``shuffled labels`` or ``raw pixels``.
    parts : tuple of Part
        Whose features are put side by side.
    shuffle_seed : int, optional
        Of the floor that is trained on shuffled labels.
    """

    name: str
    parts: tuple[Part, ...]
    shuffle_seed: int | None = None


def variants(
    recipe: Recipe, dataset: Dataset, home: Home, *, find: Find = choose, drawn: Draw = draw
) -> tuple[Variant, ...]:
    """Lay out a recipe.

    Parameters
    ----------
    recipe : Recipe
        The experiment.
    dataset : Dataset
        Its target.
    home : Home
        The work folder.
    find : callable
        As `choose`, which finds the weights that are there.
    drawn : callable
        As `draw`, which makes random ones.

    Returns
    -------
    tuple of Variant
        The recipe's own features first, then its floors.

    Raises
    ------
    WeightsError
        If weights are not there yet.
    """
    options = recipe.features
    scales = Scales(options.scales)
    chosen = [find(net.weights, home, net=net.name, width=net.width, crop=net.crop) for net in options.nets]
    layers = [net.layer for net in options.nets]

    def laid_out(nets: Sequence[ChosenWeights]) -> tuple[Part, ...]:
        pairs = list(zip(nets, layers, strict=True))
        return tuple(
            part_of(w, scales, dataset, home, flip=options.flip, layer=layer, region=region)
            for region in options.regions
            for w, layer in pairs
        )

    result = [Variant(name=PRETRAINED, parts=laid_out(chosen))]
    for floor in recipe.floors:
        match floor:
            case RandomWeightsFloor():
                random = [drawn(w.header.net, w.header.preprocessing, floor.seed, home) for w in chosen]
                result.append(Variant(name="random weights", parts=laid_out(random)))
            case ShuffledLabelsFloor():
                result.append(Variant(name="shuffled labels", parts=result[0].parts, shuffle_seed=floor.seed))
            case RawPixelsFloor():
                parts = tuple(_pixels(floor.side, dataset, home, options.flip, region) for region in options.regions)
                result.append(Variant(name="raw pixels", parts=parts))
    return tuple(result)


def all_parts(layout: tuple[Variant, ...]) -> list[Part]:
    """List the nets of an experiment, floors included.

    Parameters
    ----------
    layout : tuple of Variant
        As `variants` returns it.

    Returns
    -------
    list of Part
        In order of variant.
    """
    # Shuffled labels need no descriptors of their own.
    return [part for variant in layout if variant.shuffle_seed is None for part in variant.parts]


def blocks(layout: tuple[Variant, ...]) -> Iterator[Block]:
    """Walk over all blocks of an experiment.

    Parameters
    ----------
    layout : tuple of Variant
        As `variants` returns it.

    Yields
    ------
    Block
        In order of variant, net and scale.
    """
    for part in all_parts(layout):
        yield from part.blocks


def part_of(
    weights: ChosenWeights,
    scales: Scales,
    dataset: Dataset,
    home: Home,
    *,
    flip: bool,
    layer: str | None = None,
    region: Region = "image",
) -> Part:
    """Lay out one net over scales.

    Parameters
    ----------
    weights : ChosenWeights
        The net and its weights.
    scales : Scales
        Short sides in px.
    dataset : Dataset
        Whose images.
    home : Home
        The work folder.
    flip : bool
        Whether to average with the mirrored image.
    layer : {"fc7", "fc6", "pool5"}, optional
        Of a net of Table 1; fc7 when not given. Another net has but one.
    region : {"image", "box"}
        What the net is shown.

    Returns
    -------
    Part
        With one block per scale, there or not.

    Raises
    ------
    DatasetError
        If the dataset has no boxes to be shown.
    WeightsError
        If a scale is too small for the net, or the net has no such layer.
    """
    header = weights.header
    if layer is not None and header.layer:
        msg = f"layer {layer} is for the nets of Table 1; {header.net.name} gives {header.layer} alone"
        raise WeightsError(msg)
    smallest = GRID_PX if layer == "pool5" else header.net.crop
    if scales.sides_px[0] < smallest:
        msg = (
            f"scale {scales.sides_px[0]} is smaller than the crop of {header.net}, so its dense "
            f"form has no position; use {smallest} or more"
        )
        raise WeightsError(msg)
    pictures = dataset.pictures(region)
    spec = DescriptorSpec(
        dataset=dataset.record.name,
        images_sha256=pictures.images_sha256,
        net=header.net,
        weights_sha256=header.sha256,
        preprocessing=header.preprocessing,
        short_side_px=scales.sides_px[0],
        region=region,
        flip=flip,
        layer=header.layer or LAYERS[layer or "fc7"],
        positions=header.positions or "mean",
        pixels_version=PIXELS_VERSION,
    )
    return Part(weights=weights, blocks=tuple(Block.of(home.features, spec.at(side), pictures.ids) for side in scales))


def _pixels(side: int, dataset: Dataset, home: Home, flip: bool, region: Region) -> Part:  # noqa: FBT001
    pictures = dataset.pictures(region)
    spec = DescriptorSpec(
        dataset=dataset.record.name,
        images_sha256=pictures.images_sha256,
        net=NetSpec(name="pixels"),
        weights_sha256="",
        preprocessing=Preprocessing(),
        short_side_px=side,
        region=region,
        flip=flip,
        layer="pixels",
        positions="central square",
        pixels_version=PIXELS_VERSION,
    )
    return Part(weights=None, blocks=(Block.of(home.features, spec, pictures.ids),))
