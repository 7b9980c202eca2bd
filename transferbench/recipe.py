"""Recipes: an experiment as a value. Knows what may be asked for, not how it is done."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from transferbench import builtin
from transferbench.documents import Document, read_document, top_level_keys
from transferbench.errors import DocumentError, UnknownNameError
from transferbench.lookup import NET_SOURCES, OWN_DATA, dataset_names, is_net, net_names, unknown
from transferbench.pretraining import Count, Modern, Positive, Schedule, ShortSides, Start
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Interpolation
from transferbench.types.regions import REGIONS, Region
from transferbench.types.scales import Scales

TABLE_1 = ("A", "A-LRN", "B", "C", "D", "E", "B-5x5")
"""With the shallow net that Sect. 4.1 holds against B."""


def _known_dataset(name: str) -> str:
    if not name.startswith(OWN_DATA) and name not in (known := dataset_names()):
        raise ValueError(unknown("dataset", name, [*known, *(f"{prefix}PATH" for prefix in OWN_DATA)]))
    return name


DatasetName = Annotated[str, AfterValidator(_known_dataset)]


def _net_name(name: str) -> str:
    if not is_net(name, TABLE_1):
        raise ValueError(unknown("net", name, [*net_names(TABLE_1), *(f"{source}NAME" for source in NET_SOURCES)]))
    return name


NetName = Annotated[str, AfterValidator(_net_name)]
Layer = Literal["fc7", "fc6", "pool5"]


class Net(Document):
    """Which net, and how far it is shrunk; the paper's size unless said otherwise."""

    name: NetName
    width: float = 1.0
    crop: int = 224

    @model_validator(mode="after")
    def _sizes_fit(self) -> "Net":
        self.spec(n_classes=1000)
        return self

    def spec(self, n_classes: int) -> NetSpec:
        """Return the run-time value.

        Parameters
        ----------
        n_classes : int
            Outputs of fc8, which the source dataset decides.

        Returns
        -------
        NetSpec
            With the paper's pooling.
        """
        return NetSpec(name=self.name, width=self.width, crop=self.crop, n_classes=n_classes)


class RunWeights(Document):
    """Weights of our own pretraining."""

    kind: Literal["run"]
    recipe: str


class NamedWeights(Document):
    """Weights that were fetched or imported (`tb weights list`)."""

    kind: Literal["named"]
    name: str


class FileWeights(Document):
    """Weights in a file of ours."""

    kind: Literal["file"]
    path: str


class RandomWeights(Document):
    """Weights as they are before any training: a floor."""

    kind: Literal["random"]
    seed: int = 0


class DefaultWeights(Document):
    """The best weights of that net that are in the work folder."""

    kind: Literal["default"]


WeightsChoice = Annotated[
    RunWeights | NamedWeights | FileWeights | RandomWeights | DefaultWeights, Field(discriminator="kind")
]


class NetChoice(Net):
    """A net together with its weights."""

    weights: WeightsChoice
    layer: Layer | None = None

    @model_validator(mode="after")
    def _only_table_1_has_layers(self) -> "NetChoice":
        if self.layer is not None and self.name not in TABLE_1:
            msg = f"layer is for the nets of Table 1; {self.name} has but one, its last features"
            raise ValueError(msg)
        return self


class FeaturesOptions(Document):
    """What is extracted: one block of descriptors per net, scale and region."""

    nets: tuple[NetChoice, ...] = Field(min_length=1)
    scales: tuple[int, ...]
    flip: bool
    regions: tuple[Region, ...] = ("image",)

    @model_validator(mode="after")
    def _regions_ascend(self) -> "FeaturesOptions":
        if self.regions not in REGIONS:
            msg = "regions must be [image], [box] or [image, box]"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _scales_ascend_and_reach_the_crop(self) -> "FeaturesOptions":
        smallest = Scales(self.scales).sides_px[0]
        for net in self.nets:
            if net.name in TABLE_1 and net.layer != "pool5" and smallest < net.crop:
                msg = (
                    f"scale {smallest} is smaller than the crop of net {net.name}, so its dense form has "
                    f"no position; use {net.crop} or more"
                )
                raise ValueError(msg)
        return self


L2 = Literal["none", "block", "global", "both"]


class Stack(Document):
    """Put the scales side by side."""

    kind: Literal["stack"]
    l2: L2


class Average(Document):
    """Average over the scales of a net."""

    kind: Literal["average"]
    l2: L2


class Max(Document):
    """Take, in every dimension, the largest value over the scales of a net."""

    kind: Literal["max"]
    l2: L2


Aggregation = Annotated[Stack | Average | Max, Field(discriminator="kind")]


SolverName = Literal["auto", "gram", "rows", "liblinear"]
"""How SVMs are fitted. No part of a recipe: all of them go to the same optimum."""


class SvmOptions(Document):
    """One-vs-rest linear SVM with LIBLINEAR's objective; C is chosen on the validation part of each split."""

    loss: Literal["squared_hinge", "hinge"]
    C: tuple[Positive, ...] = Field(min_length=1)
    selection: Literal["validation"]

    @model_validator(mode="after")
    def _grid_ascends(self) -> "SvmOptions":
        if list(self.C) != sorted(set(self.C)):
            msg = f"C must ascend without repeats, got {', '.join(f'{c:g}' for c in self.C)}"
            raise ValueError(msg)
        return self


class RandomWeightsFloor(Document):
    """The same nets before any training."""

    kind: Literal["random_weights"]
    seed: int


class ShuffledLabelsFloor(Document):
    """The same features, trained on labels that belong to other training images."""

    kind: Literal["shuffled_labels"]
    seed: int


class RawPixelsFloor(Document):
    """The same SVM on the pixels of the image, rescaled to a small square."""

    kind: Literal["raw_pixels"]
    side: Count


Floor = Annotated[RandomWeightsFloor | ShuffledLabelsFloor | RawPixelsFloor, Field(discriminator="kind")]


class LowShot(Document):
    """A curve over the number of training images of every class.

    Of each count a fifth chooses C. Where that leaves nothing, at one image per class, C is `C_without_validation`.
    """

    train_per_class: tuple[Count, ...] = Field(min_length=1)
    C_without_validation: Positive

    @model_validator(mode="after")
    def _counts_ascend(self) -> "LowShot":
        if list(self.train_per_class) != sorted(set(self.train_per_class)):
            msg = f"train_per_class must ascend without repeats, got {', '.join(map(str, self.train_per_class))}"
            raise ValueError(msg)
        return self


class Recipe(Document):
    """A transfer experiment: dataset, features, aggregation, SVM, and the row it claims."""

    version: Literal[1]
    dataset: DatasetName
    features: FeaturesOptions
    aggregate: Aggregation
    svm: SvmOptions
    floors: tuple[Floor, ...] = ()
    low_shot: LowShot | None = None
    claims: str | None


class PretrainRecipe(Document):
    """A pretraining experiment; the paper's Sect. 3.1 in its own words."""

    version: Literal[1]
    dataset: DatasetName
    net: Net
    start: Start | None = None
    init: Literal["glorot", "normal", "literal"]
    train: Literal["all", "fc"] = "all"
    short_side: Count | ShortSides
    mean: tuple[float, float, float]
    interpolation: Interpolation
    flip: bool
    colour_shift: Annotated[float, Field(ge=0)] = 0.0
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    schedule: Schedule
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    bias_rate: Positive = 1.0
    bias_decay: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)]
    dropout_masks: Literal["image", "stream"] = "image"
    seed: int
    modern: Modern = Modern()

    @property
    def short_sides(self) -> tuple[int, int]:
        """The smallest and the largest S; equal where S is fixed."""
        if isinstance(self.short_side, ShortSides):
            return self.short_side.smallest, self.short_side.largest
        return self.short_side, self.short_side

    @model_validator(mode="after")
    def _crop_fits(self) -> "PretrainRecipe":
        if self.net.name not in TABLE_1:
            msg = f"only nets of Table 1 ({', '.join(TABLE_1)}) are pretrained here, not {self.net.name}"
            raise ValueError(msg)
        if self.short_sides[0] < self.net.crop:
            msg = f"short_side {self.short_sides[0]} is smaller than the crop of {self.net.crop} px"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _something_is_trained(self) -> "PretrainRecipe":
        if self.train == "fc" and self.start is None:
            msg = "train: fc leaves the convolutions as they are, so they need a start that has learnt something"
            raise ValueError(msg)
        return self


R = TypeVar("R", Recipe, PretrainRecipe)
_KINDS: dict[type[Document], tuple[str, str]] = {
    Recipe: ("recipe", "*.yaml"),
    PretrainRecipe: ("pretraining recipe", "pretrain/*.yaml"),
}


def shipped(kind: type[R]) -> dict[str, Path]:
    """List the recipes that come with the package.

    Parameters
    ----------
    kind : type
        `Recipe` or `PretrainRecipe`.

    Returns
    -------
    dict of str to Path
        Name to file, sorted by name.
    """
    return {path.stem: path for path in sorted(builtin.folder("recipes").glob(_KINDS[kind][1]))}


def find(name: str, kind: type[R]) -> Path:
    """Find a recipe by the name of a shipped one, or by its path.

    Parameters
    ----------
    name : str
        A shipped name, or a path (anything with a slash or ending in ``.yaml``).
    kind : type
        `Recipe` or `PretrainRecipe`.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    DocumentError
        If the path does not exist.
    UnknownNameError
        If no shipped recipe has that name.
    """
    if _is_path(name):
        path = Path(name).expanduser()
        if not path.is_file():
            msg = f"{path}: there is no such file; shipped recipes are listed by `tb recipes list`"
            raise DocumentError(msg)
        return path
    known = shipped(kind)
    if name not in known:
        raise UnknownNameError(unknown(_KINDS[kind][0], name, known))
    return known[name]


def find_any(name: str) -> Path:
    """Find a recipe of either kind.

    Parameters
    ----------
    name : str
        As for `find`.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    DocumentError
        If the path does not exist.
    UnknownNameError
        If no shipped recipe of either kind has that name.
    """
    known = shipped(PretrainRecipe) | shipped(Recipe)
    if name in known:
        return known[name]
    if _is_path(name):
        return find(name, Recipe)
    raise UnknownNameError(unknown("recipe", name, known))


def load(name: str, kind: type[R]) -> R:
    """Read and check a recipe.

    Parameters
    ----------
    name : str
        As for `find`.
    kind : type
        `Recipe` or `PretrainRecipe`.

    Returns
    -------
    Recipe or PretrainRecipe
        Complete: every default is filled in.

    Raises
    ------
    DocumentError
        With every mistake in the file.
    """
    return read_document(find(name, kind), kind)


def kind_of(path: Path) -> type[Recipe] | type[PretrainRecipe]:
    """Tell which kind of recipe a file holds, from its keys.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    type
        `PretrainRecipe` if it has keys of one and none of the keys that only a transfer recipe has.
    """
    keys = top_level_keys(path)
    ours, theirs = set(Recipe.model_fields), set(PretrainRecipe.model_fields)
    return PretrainRecipe if keys & (theirs - ours) and not keys & (ours - theirs) else Recipe


def summary(path: Path) -> str:
    """Return the first comment line of a recipe: what it is.

    Parameters
    ----------
    path : Path
        The recipe's file.

    Returns
    -------
    str
        Without the leading ``#``.
    """
    with path.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()


def to_dict(recipe: Document) -> dict[str, Any]:
    """Return a recipe as plain JSON values, defaults filled in.

    Parameters
    ----------
    recipe : Document
        Any typed document.

    Returns
    -------
    dict
        What is written into results.
    """
    return recipe.model_dump(mode="json")


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name
