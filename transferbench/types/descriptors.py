"""Descriptors and features: rows of images with what made them, refused where no SVM should see them."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from transferbench.errors import FeatureError
from transferbench.types.arrays import Float32
from transferbench.types.identity import sha256_of
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing
from transferbench.types.regions import Region


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
