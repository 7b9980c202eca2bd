"""What `tb extract` and `tb plan` are asked for: a recipe, or options, as nets with their blocks."""

from collections.abc import Sequence

from transferbench.data import Dataset
from transferbench.errors import UnknownNameError, WeightsError
from transferbench.home import Home
from transferbench.lookup import NET_SOURCES, is_net, net_names, unknown
from transferbench.pipeline.datasets import WHOLE, DataOptions, target
from transferbench.pipeline.floors import with_floors
from transferbench.pipeline.inputs import require_rounds
from transferbench.pipeline.plan import Draw, Find, Part, all_parts, part_of, variants
from transferbench.pipeline.weights import choose, draw, weights_choice
from transferbench.recipe.files import load
from transferbench.recipe.names import TABLE_1
from transferbench.recipe.transfer import Recipe
from transferbench.types.regions import Region
from transferbench.types.scales import Scales


def parts_of_recipe(
    name: str,
    home: Home,
    data: DataOptions = WHOLE,
    floors: str | None = None,
    *,
    find: Find = choose,
    drawn: Draw = draw,
) -> tuple[Dataset, list[Part]]:
    """Lay out what ``tb extract --recipe`` means.

    Parameters
    ----------
    name : str
        A shipped recipe or a path.
    home : Home
        The work folder.
    data : DataOptions
        Where the images are, and how many are wanted.
    floors : str, optional
        Kinds of floors with commas between them, beside those of the recipe.
    find, drawn : callable
        As for `variants`.

    Returns
    -------
    tuple of Dataset and list of Part
        What to look at, and the nets to look with.

    Raises
    ------
    DatasetError
        If the images are not there, or fewer than the recipe trains on.
    """
    recipe = with_floors(load(name, Recipe), floors)
    dataset = target(recipe.dataset, home, data)
    require_rounds(recipe, dataset)
    return dataset, all_parts(variants(recipe, dataset, home, find=find, drawn=drawn))


def parts_of_options(  # noqa: PLR0913 - one for each option of the command line
    dataset: str,
    net: str,
    weights: str,
    scales: Scales,
    *,
    flip: bool,
    home: Home,
    layer: str | None = None,
    regions: Sequence[Region] = ("image",),
    data: DataOptions = WHOLE,
    find: Find = choose,
) -> tuple[Dataset, list[Part]]:
    """Lay out what ``tb extract --dataset`` and its options mean.

    Parameters
    ----------
    dataset : str
        Name of the target.
    net : str
        A net of Table 1 or another, or several with commas between them.
    weights : str
        As `weights_choice` reads it: one for all nets, or one for each with commas between them.
    scales : Scales
        Short sides in px.
    flip : bool
        Whether to average with the mirrored image.
    home : Home
        The work folder.
    layer : {"fc7", "fc6", "pool5"}, optional
        Of the nets of Table 1.
    regions : sequence of {"image", "box"}
        What the nets are shown.
    data : DataOptions
        Where the images are, and how many are wanted.
    find : callable
        As `choose`, which finds the weights that are there.

    Returns
    -------
    tuple of Dataset and list of Part
        What to look at, and the nets to look with.

    Raises
    ------
    UnknownNameError
        If there is no such net.
    WeightsError
        If nets and weights differ in number, or weights are not there.
    """
    opened = target(dataset, home, data)
    nets, texts = net.split(","), weights.split(",")
    for name in nets:
        if not is_net(name, TABLE_1):
            raise UnknownNameError(unknown("net", name, [*net_names(TABLE_1), *(f"{s}NAME" for s in NET_SOURCES)]))
    if len(texts) not in {1, len(nets)}:
        msg = f"--weights names {len(texts)} for {len(nets)} nets; give one for all or one for each"
        raise WeightsError(msg)
    texts = texts * len(nets) if len(texts) == 1 else texts
    chosen = [find(weights_choice(text), home, net=name) for name, text in zip(nets, texts, strict=True)]
    return opened, [
        part_of(each, scales, opened, home, flip=flip, layer=layer, region=region)
        for region in regions
        for each in chosen
    ]
