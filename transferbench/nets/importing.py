"""A foreign weights file → `Weights`: read, recognised, checked, folded to RGB, fingerprinted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from transferbench.errors import WeightsError
from transferbench.lookup import lookup
from transferbench.nets.fingerprint import fingerprint, sample_image
from transferbench.nets.fit import spec_of
from transferbench.nets.header import ClassOrder, WeightsHeader
from transferbench.nets.importers import CONVENTIONS, FORMATS, Convention
from transferbench.nets.inputs import InputLayer
from transferbench.nets.weights import State, Weights, check_state, state_sha256
from transferbench.types.preprocessing import Preprocessing

AGREEMENT = 1e-4
"""Largest difference, relative to the largest score, of the fully connected and the dense form on one crop."""


def import_file(
    path: Path,
    kind: str,
    *,
    net: str | None = None,
    convention: str | None = None,
    class_order: ClassOrder | None = None,
    label: str = "",
    origin: dict[str, Any] | None = None,
) -> Weights:
    """Import a weights file that somebody else made.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        Key of `FORMATS`. Never guessed: files of different conventions have equal shapes.
    net : str, optional
        The column of Table 1 that it must hold; otherwise the one that its tensors fit.
    convention : str, optional
        Key of `CONVENTIONS`; needed where the format does not tell, refused where it tells otherwise.
    class_order : str, optional
        Instead of the format's.
    label : str
        For people.
    origin : dict, optional
        JSON values about the file.

    Returns
    -------
    Weights
        In RGB whatever the file's order, so that equal originals become equal tensors; with a fingerprint.

    Raises
    ------
    WeightsError
        If the file is damaged, runs code, holds another net, values that are not finite, or a net whose two forms
        disagree.
    UnknownNameError
        If there is no such format or convention.
    """
    form = lookup("format of weights", kind, FORMATS)
    chosen = _convention(kind, form.convention, convention)
    tensors = form.read(path)
    spec = spec_of(
        {name: array.shape for name, array in tensors.arrays.items()},
        net=net,
        pool_rounding=chosen.pool_rounding,
        where=str(path),
        origin=tensors.origin,
    )
    state = {name: torch.from_numpy(array) for name, array in tensors.arrays.items()}
    check_state(str(path), spec, state)
    preprocessing = fold_channel_order(state, chosen.preprocessing)
    header = WeightsHeader(
        net=spec,
        preprocessing=preprocessing,
        classes=tuple(map(str, range(spec.n_classes))),
        class_order=class_order or form.class_order,
        label=label,
        origin={"kind": "import", "format": kind, **(origin or {})},
        sha256=state_sha256(state),
    )
    weights = Weights(header=header, state=state)
    check_forms(weights, str(path))
    return stamped(weights)


def stamped(weights: Weights) -> Weights:
    """Write the fingerprint into the header.

    Parameters
    ----------
    weights : Weights
        With or without one.

    Returns
    -------
    Weights
        The same tensors.
    """
    return replace(weights, header=replace(weights.header, fingerprint=fingerprint(weights)))


def fold_channel_order(state: State, preprocessing: Preprocessing) -> Preprocessing:
    """Turn weights for BGR input into the same weights for RGB, exactly.

    Parameters
    ----------
    state : dict of str to Tensor
        Its first convolution is changed in place of the dictionary, not of the tensor.
    preprocessing : Preprocessing
        Of the file.

    Returns
    -------
    Preprocessing
        In RGB: mean and deviation in that order too.
    """
    if preprocessing.channel_order == "RGB":
        return preprocessing
    state["conv1_1.weight"] = state["conv1_1.weight"].flip(1)
    return replace(preprocessing, channel_order="RGB", mean=preprocessing.mean[::-1], std=preprocessing.std[::-1])


def check_forms(weights: Weights, where: str) -> None:
    """Refuse weights whose net is blind, or whose fully connected and dense forms disagree on a crop.

    Parameters
    ----------
    weights : Weights
        To be checked.
    where : str
        The file, for the message.

    Raises
    ------
    WeightsError
        If the descriptor of the test image is zero, or the scores of its crop differ between the two forms.
    """
    net, crop = weights.build(), weights.header.net.crop
    with torch.inference_mode():
        image = InputLayer(weights.header.preprocessing)(torch.from_numpy(sample_image(crop, crop))[None])
        connected, dense, row = net(image), net.dense_scores(image), net.describe(image)
    difference = float((connected - dense).abs().max() / connected.abs().max().clamp_min(1e-30))
    if not difference <= AGREEMENT:
        msg = f"{where}: its fully connected and dense forms differ by {difference:.1e} of the largest score"
        raise WeightsError(msg)
    if not row.any():
        msg = f"{where}: the net describes the test image by zeros alone, so these are not the weights of a trained net"
        raise WeightsError(msg)


def _convention(kind: str, of_format: str | None, asked: str | None) -> Convention:
    if of_format is None and asked is None:
        msg = (
            f"format {kind} does not tell what input the weights expect, and nothing guesses it. Give --input: "
            f"{', '.join(CONVENTIONS)}"
        )
        raise WeightsError(msg)
    if asked is not None and of_format not in {None, asked}:
        msg = (
            f"files of format {kind} expect {of_format} input, so --input {asked} cannot be. For a file that was "
            "converted further: --format state-dict"
        )
        raise WeightsError(msg)
    return lookup("kind of input", str(asked or of_format), CONVENTIONS)
