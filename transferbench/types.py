"""The frozen values that the boxes exchange. Knows shapes, units and identities; reads no file, needs only numpy."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from transferbench.errors import FeatureError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Int8 = NDArray[np.int8]
UInt8 = NDArray[np.uint8]

Region = Literal["image", "box"]
REGIONS: tuple[tuple[Region, ...], ...] = (("image",), ("box",), ("image", "box"))
"""What nets may be shown: whole images, the boxes of annotated people, or both side by side in this order."""

PoolRounding = Literal["ceil", "floor"]
ChannelOrder = Literal["RGB", "BGR"]
Interpolation = Literal["bicubic", "bilinear"]

MEAN_RGB_ILSVRC = (123.68, 116.779, 103.939)
"""Mean colour subtracted by the authors' released nets, 0-255 units (paper, Sect. 2.1)."""

DEFAULT_SCALE_STEP_PX = 128
N_POOLINGS = 5


def canonical_json(value: Any) -> str:
    """Serialise a value so that equal values give equal text.

    Parameters
    ----------
    value : Any
        Anything that ``json`` can write; dataclasses must be passed through ``asdict`` first.

    Returns
    -------
    str
        Sorted keys, no blanks, no NaN.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_of(value: Any) -> str:
    """Hash a JSON-like value.

    Parameters
    ----------
    value : Any
        What `canonical_json` accepts.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def check_rows(ids: tuple[str, ...], array: Float32, what: str) -> None:
    """Refuse rows that no SVM should see.

    Parameters
    ----------
    ids : tuple of str
        n image ids.
    array : ndarray of shape (n, D), float32
        Their descriptors or features.
    what : str
        What computed them, for the message.

    Raises
    ------
    FeatureError
        If ids and rows differ in number, or a row is zero or not finite; the first such image is named.
    """
    if array.ndim != 2 or len(ids) != len(array):
        msg = f"{len(ids)} ids do not fit an array of shape {array.shape}, computed by {what}"
        raise FeatureError(msg)
    # Squared lengths find nearly all in one pass; where they overflow or vanish, the values themselves decide.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        lengths = np.einsum("ij,ij->i", array, array)
    if (np.isfinite(lengths) & (lengths > 0)).all():
        return
    for defect, rows in (
        ("has a value that is not finite", ~np.isfinite(array).all(axis=1)),
        ("is zero", ~array.any(axis=1)),
    ):
        if rows.any():
            first = ids[int(rows.argmax())]
            more = f" (and {int(rows.sum()) - 1} more)" if rows.sum() > 1 else ""
            msg = (
                f"the descriptor of image {first!r}{more} by {what} {defect}; nothing of it is kept.\n"
                "  Look at the image, then at the weights: this comes from a damaged image, or from "
                "a net that is not trained well."
            )
            raise FeatureError(msg)


@dataclass(frozen=True, slots=True)
class Scales:
    """Ascending short sides in pixels: Q at test time, S in training.

    Parameters
    ----------
    sides_px : tuple of int
        Strictly ascending; the order is the order of the blocks in a stack.

    Raises
    ------
    ValueError
        If empty, not positive or not strictly ascending.
    """

    sides_px: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.sides_px:
            msg = "at least one short side is needed"
            raise ValueError(msg)
        if self.sides_px[0] < 1:
            msg = f"a short side must be at least 1 px, got {self.sides_px[0]}"
            raise ValueError(msg)
        if any(a >= b for a, b in zip(self.sides_px, self.sides_px[1:], strict=False)):
            ordered = ",".join(map(str, sorted(set(self.sides_px))))
            msg = f"short sides must ascend without repeats, got {self}; write {ordered}"
            raise ValueError(msg)

    @classmethod
    def parse(cls, text: str) -> "Scales":
        """Read ``256..768`` (steps of 128 px), ``64..128:32`` (own step) or a list ``256,384``.

        Parameters
        ----------
        text : str
            As typed after ``--scales``.

        Returns
        -------
        Scales
            Both ends of a range are included.

        Raises
        ------
        ValueError
            If the text is neither form, or the range is not a whole number of steps.

        Examples
        --------
        >>> Scales.parse("256..768").sides_px
        (256, 384, 512, 640, 768)
        """
        if match := re.fullmatch(r"(\d+)\.\.(\d+)(?::(\d+))?", text.strip()):
            first, last = int(match[1]), int(match[2])
            step = int(match[3] or DEFAULT_SCALE_STEP_PX)
            if step < 1 or last < first or (last - first) % step:
                msg = (
                    f"{text} is not a whole number of {step}-pixel steps upwards; write FIRST..LAST:STEP "
                    "or a list such as 256,384"
                )
                raise ValueError(msg)
            return cls(tuple(range(first, last + 1, step)))
        if re.fullmatch(r"\d+(\s*,\s*\d+)*", text.strip()):
            return cls(tuple(int(part) for part in text.split(",")))
        msg = f"{text!r} is neither a range such as 256..768 nor a list such as 256,384,512"
        raise ValueError(msg)

    def __str__(self) -> str:
        return ",".join(map(str, self.sides_px))

    def __iter__(self) -> Iterator[int]:
        return iter(self.sides_px)

    def __len__(self) -> int:
        return len(self.sides_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetSpec:
    """Which net: a column of Table 1, and how far it is shrunk.

    Parameters
    ----------
    name : str
        Column of Table 1 (``A``, ``A-LRN``, ``B`` ... ``E``), or the name of another backbone.
    width : float, default 1.0
        Factor on every hidden width; 1 is the paper's. 64 times it must be a whole number.
    crop : int, default 224
        Side in px of the training crop, a multiple of 32. fc6 is a convolution of side crop / 32.
    n_classes : int, default 1000
        Outputs of fc8.
    pool_rounding : {"ceil", "floor"}, default "ceil"
        How a pooling layer treats an odd side: Caffe, and so the paper, rounds up; torchvision's weights were
        trained rounding down.

    Raises
    ------
    ValueError
        If a size is out of range.
    """

    name: str
    width: float = 1.0
    crop: int = 224
    n_classes: int = 1000
    pool_rounding: PoolRounding = "ceil"

    def __post_init__(self) -> None:
        if not 0 < self.width <= 4 or (64 * self.width) % 1:
            msg = f"width {self.width:g} does not give whole channel counts; use a multiple of 1/64 up to 4"
            raise ValueError(msg)
        if self.crop < 2**N_POOLINGS or self.crop % 2**N_POOLINGS:
            msg = f"crop {self.crop} is not a multiple of 32 px, which five halvings need"
            raise ValueError(msg)
        if self.n_classes < 2:
            msg = f"n_classes must be at least 2, got {self.n_classes}"
            raise ValueError(msg)

    @property
    def fc6_side(self) -> int:
        """Side of the fc6 convolution, in cells of 32 px: 7 in the paper."""
        return int(self.crop // 2**N_POOLINGS)

    def __str__(self) -> str:
        if ":" in self.name:  # another library's net comes in one size
            return f"net {self.name}"
        shrunk = f" at width {self.width:g}, crop {self.crop}" if (self.width, self.crop) != (1.0, 224) else ""
        return f"net {self.name}{shrunk}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """From RGB bytes to the net's input: stored with the weights, guessed nowhere.

    Parameters
    ----------
    channel_order : {"RGB", "BGR"}
        Order in which the first layer expects the channels.
    value_range : float
        255.0 or 1.0: the largest input value before the mean is subtracted.
    mean, std : tuple of float
        Three values each, in `channel_order` and in units of `value_range`.
    interpolation : {"bicubic", "bilinear"}
        Of the isotropic rescaling, always antialiased.
    """

    channel_order: ChannelOrder = "RGB"
    value_range: float = 255.0
    mean: tuple[float, float, float] = MEAN_RGB_ILSVRC
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: Interpolation = "bicubic"

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Preprocessing":
        """Read what ``asdict`` and JSON made of it.

        Parameters
        ----------
        plain : dict
            JSON values; lists stand for tuples.

        Returns
        -------
        Preprocessing
            Equal to the one that was written.

        Raises
        ------
        TypeError
            If a field is unknown.
        """
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in plain.items()}
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorSpec:
    """Everything that can change a descriptor; its hash names the cache block.

    Parameters
    ----------
    dataset : str
        Name of the dataset.
    images_sha256 : str
        Identity of the ordered ids and of the image files behind them.
    net : NetSpec
        The net; of the backbone ``pixels`` only the name counts.
    weights_sha256 : str
        Identity of the tensors; empty for a backbone without weights.
    preprocessing : Preprocessing
        How pixels become the net's input.
    short_side_px : int
        Q: the short side after isotropic rescaling.
    region : {"image", "box"}
        The whole image, or the annotated person's box.
    flip : bool
        Whether the descriptor is the mean with that of the mirrored image.
    layer : str
        Which activations.
    positions : str
        How the map of activations becomes one vector.
    pixels_version : int
        Raised when our decoding or rescaling code changes a pixel.
    dtype : str
        Of the stored rows.
    """

    dataset: str
    images_sha256: str
    net: NetSpec
    weights_sha256: str
    preprocessing: Preprocessing
    short_side_px: int
    region: Region = "image"
    flip: bool = True
    layer: str = "fc7+relu"
    positions: str = "mean"
    pixels_version: int = 1
    dtype: str = "float32"

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values.

        Returns
        -------
        dict
            Every field, nested values included.
        """
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "DescriptorSpec":
        """Read what `to_dict` wrote.

        Parameters
        ----------
        plain : dict
            JSON values.

        Returns
        -------
        DescriptorSpec
            Equal to the one that was written.

        Raises
        ------
        ValueError
            If a field is missing, unknown or out of range.
        """
        try:
            net = NetSpec(**plain["net"])
            preprocessing = Preprocessing.from_dict(plain["preprocessing"])
            return cls(**{**plain, "net": net, "preprocessing": preprocessing})
        except (KeyError, TypeError, AttributeError) as problem:
            msg = f"not a descriptor spec: {problem}"
            raise ValueError(msg) from problem

    def key(self) -> str:
        """Hash every field of the spec.

        Returns
        -------
        str
            64 hexadecimal digits. Computed from ``asdict``, so that a new field cannot be forgotten.
        """
        return sha256_of(self.to_dict())

    def at(self, short_side_px: int) -> "DescriptorSpec":
        """Return the same spec at another scale.

        Parameters
        ----------
        short_side_px : int
            The other Q in px.

        Returns
        -------
        DescriptorSpec
            All other fields unchanged.
        """
        return replace(self, short_side_px=short_side_px)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Descriptors:
    """One descriptor per image at one scale, rows in the order of the sorted ids.

    Parameters
    ----------
    ids : tuple of str
        N image ids.
    array : ndarray of shape (N, D), float32
        Row i belongs to ``ids[i]``.
    spec : DescriptorSpec
        What made them.

    Raises
    ------
    FeatureError
        If rows and ids differ in number, or a row is zero or not finite.
    """

    ids: tuple[str, ...]
    array: Float32
    spec: DescriptorSpec

    def __post_init__(self) -> None:
        check_rows(self.ids, self.array, f"{self.spec.net} at {self.spec.short_side_px} px")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """What the SVM sees: aggregated, normalised rows.

    Parameters
    ----------
    ids : tuple of str
        N image ids.
    array : ndarray of shape (N, D), float32
        Unit rows unless the recipe says otherwise.

    Raises
    ------
    FeatureError
        If rows and ids differ in number, or a row is zero or not finite.
    """

    ids: tuple[str, ...]
    array: Float32

    def __post_init__(self) -> None:
        check_rows(self.ids, self.array, "aggregation")

    def rows(self, ids: tuple[str, ...]) -> Float32:
        """Look up rows.

        Parameters
        ----------
        ids : tuple of str
            n of the image ids.

        Returns
        -------
        ndarray of shape (n, D), float32
            In the order of `ids`.
        """
        position = {image_id: row for row, image_id in enumerate(self.ids)}
        return self.array[[position[image_id] for image_id in ids]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLabels:
    """Exactly one class per image; selects mean class recall as the metric.

    Parameters
    ----------
    classes : tuple of str
        K class names; their position is the class number.
    by_id : dict of str to int
        Class number of every image id.
    """

    classes: tuple[str, ...]
    by_id: dict[str, int]

    def of(self, ids: tuple[str, ...]) -> Int64:
        """Look up class numbers.

        Parameters
        ----------
        ids : tuple of str
            N image ids.

        Returns
        -------
        ndarray of shape (N,), int64
            In ``range(K)``.
        """
        return np.array([self.by_id[i] for i in ids], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiLabels:
    """Any number of classes per image; selects mean average precision as the metric.

    Parameters
    ----------
    classes : tuple of str
        K class names.
    by_id : dict of str to tuple of int
        For every image id K values: +1 present, -1 absent, 0 difficult (left out, for this class, of training and of
        evaluation).
    """

    classes: tuple[str, ...]
    by_id: dict[str, tuple[int, ...]]

    def of(self, ids: tuple[str, ...]) -> Int8:
        """Look up labels.

        Parameters
        ----------
        ids : tuple of str
            N image ids.

        Returns
        -------
        ndarray of shape (N, K), int8
            +1, -1 or 0.
        """
        return np.array([self.by_id[i] for i in ids], dtype=np.int8).reshape(len(ids), len(self.classes))


Labels = ClassLabels | MultiLabels
"""The kind of labels selects the metric."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of an image, by the edges of its pixels as Pillow counts them.

    Parameters
    ----------
    left, top, right, bottom : int
        In px of the original image; `right` and `bottom` are the first column and row outside.
    """

    left: int
    top: int
    right: int
    bottom: int

    def clipped(self, width: int, height: int) -> "Box":
        """Cut off what lies outside an image.

        Parameters
        ----------
        width, height : int
            Of the image, in px.

        Returns
        -------
        Box
            At least one pixel wide and high.
        """
        left, top = min(max(self.left, 0), width - 1), min(max(self.top, 0), height - 1)
        return Box(left, top, max(min(self.right, width), left + 1), max(min(self.bottom, height), top + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One division of a dataset. C is chosen on `validation` after fitting on `fit`; then fit + validation train.

    Parameters
    ----------
    name : str
        As printed, for instance ``1 of 3``.
    fit, validation, test : tuple of str
        Disjoint ids.
    """

    name: str
    fit: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def train(self) -> tuple[str, ...]:
        """All training ids: `fit` and `validation`, sorted."""
        return tuple(sorted((*self.fit, *self.validation)))

    @property
    def sha256(self) -> str:
        """Identity of the three id lists."""
        return sha256_of([self.fit, self.validation, self.test])


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number with what it is the mean of.

    Parameters
    ----------
    metric : str
        ``mean class recall``.
    value : float
        In [0, 1].
    per_class : tuple of float
        In class order, in [0, 1].
    n_test : int
        Number of test images.
    """

    metric: str
    value: float
    per_class: tuple[float, ...]
    n_test: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeWith:
    """How a published number was made, as far as its paper says.

    Parameters
    ----------
    nets : tuple of str
        Columns of Table 1, side by side.
    scales : tuple of int
        Short sides in px; empty where the paper does not say.
    aggregate : str or None
        ``stack``, ``average`` or ``max`` over the scales, if the paper says it.
    regions : tuple of str
        What of an image was described.
    splits : int or None
        How many random splits it is the mean of.
    average_precision : str or None
        ``eleven_point``, ``area`` or ``non_interpolated``.
    average_precision_stated : bool
        Whether the paper or its test server says so.
    test : {"local", "server"}
        Who had the test labels.
    """

    nets: tuple[str, ...]
    aggregate: str | None = None
    scales: tuple[int, ...] = ()
    regions: tuple[str, ...] = ("image",)
    splits: int | None = None
    average_precision: str | None = None
    average_precision_stated: bool = True
    test: str = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """A number somebody published, to stand beside ours.

    Parameters
    ----------
    key : str
        Name by which a recipe claims it, unique within the dataset.
    metric : str
        The metric's name.
    value : float
        In [0, 1].
    spread : float or None
        Standard deviation over splits, if published.
    source : str
        Table and row, or who measured it and with what.
    tolerance : float
        Difference up to which ours counts as a reproduction.
    made_with : MadeWith or None
        How it was made, if ours is to be held against that.
    """

    key: str
    metric: str
    value: float
    spread: float | None
    source: str
    tolerance: float
    made_with: MadeWith | None = None
