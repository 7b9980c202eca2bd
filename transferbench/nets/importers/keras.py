"""Keras' VGG files: HDF5, kernels (height, width, inputs, outputs), fc1 flattened (height, width, channel), BGR."""

import re
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from transferbench.errors import WeightsError
from transferbench.nets.importers.layers import Tensors, contiguous, last_channels, map_side

_FULLY_CONNECTED = {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}
_MOST_DATASETS = 1000


def read(path: Path) -> Tensors:
    """Read a weights file of ``keras.applications`` (tf_kernels), or a whole model that holds it.

    Parameters
    ----------
    path : Path
        HDF5.

    Returns
    -------
    Tensors
        Still in BGR.

    Raises
    ------
    WeightsError
        If it is no HDF5 file, refers to other files, or has other layers than a VGG with its classifier.
    """
    import h5py  # noqa: PLC0415 - the cache's library; only this format of weights needs it

    try:
        with h5py.File(path, "r") as file:
            found = _datasets(file.get("model_weights", file), path)
            return _convert(found, path)
    except (OSError, KeyError, RuntimeError, ValueError) as problem:
        msg = f"{path}: cannot be read as a Keras weights file (HDF5): {problem}"
        raise WeightsError(msg) from problem


def _datasets(top: Any, path: Path) -> dict[str, Any]:
    """Find the arrays. Only hard links are followed, and only data inside this file is read."""
    import h5py  # noqa: PLC0415

    found: dict[str, Any] = {}
    groups = [top]
    while groups:
        group = groups.pop()
        for key in group:
            name = f"{group.name.rstrip('/')}/{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                msg = f"{path}: {name} refers to another place or file; such files are not read"
                raise WeightsError(msg)
            item = group[key]
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif item.external or item.is_virtual:
                msg = f"{path}: {name} keeps its values in another file; such files are not read"
                raise WeightsError(msg)
            else:
                found[name] = item
            if len(found) + len(groups) > _MOST_DATASETS:
                msg = f"{path}: has more than {_MOST_DATASETS} arrays, so it is no VGG"
                raise WeightsError(msg)
    return found


def _convert(found: dict[str, Any], path: Path) -> Tensors:
    arrays: dict[str, NDArray[Any]] = {}
    origin: dict[str, str] = {}
    flat: dict[str, Any] = {}
    for place, item in sorted(found.items()):
        layer = _layer(place)
        if layer is None or item.ndim not in {1, 2, 4}:
            continue
        name = f"{layer}.{'bias' if item.ndim == 1 else 'weight'}"
        if name in origin:
            msg = f"{path}: {origin[name]} and {place} are both {name}"
            raise WeightsError(msg)
        origin[name] = place
        if item.ndim == 2:
            flat[name] = item
        else:
            _refuse_theano(name, item, path)
            arrays[name] = contiguous(item[()].transpose(3, 2, 0, 1) if item.ndim == 4 else item[()])
    if "fc6.weight" not in flat:
        msg = (
            f"{path}: has no layer fc1, and fc7 is what transfer needs. This is a 'notop' file; take the one "
            "without notop in its name."
        )
        raise WeightsError(msg)
    channels = last_channels(arrays, str(path))
    for name, item in flat.items():
        side = map_side(item.shape[0], channels, f"{path}: {name}") if name == "fc6.weight" else 1
        # Keras flattens height, width, channel; a plain transposition followed by a reshape would run and be wrong.
        kernel = item[()].reshape(side, side, -1, item.shape[1])
        arrays[name] = contiguous(kernel.transpose(3, 2, 0, 1))
    return Tensors(arrays, origin)


def _layer(place: str) -> str | None:
    for part in place.split("/"):
        if match := re.fullmatch(r"block(\d)_conv(\d)", part):
            return f"conv{match[1]}_{match[2]}"
        if part in _FULLY_CONNECTED:
            return _FULLY_CONNECTED[part]
    return None


def _refuse_theano(name: str, item: Any, path: Path) -> None:
    if name == "conv1_1.weight" and item.shape[:3] != (3, 3, 3) and item.shape[1:] == (3, 3, 3):
        msg = (
            f"{path}: its kernels are Theano's (turned by 180 degrees, outputs first). Take the file with "
            "'tf_kernels' in its name."
        )
        raise WeightsError(msg)
