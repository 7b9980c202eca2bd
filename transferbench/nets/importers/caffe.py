"""Caffe's models: protocol buffers, blobs (outputs, inputs, height, width), fc6 flattened channel first, BGR.

A reader of the wire format for the few fields that hold weights; every length is checked against the message it stands
in, so damaged or hostile bytes end in an error. Caffe itself, or the schema, is not needed.

References
----------
BVLC Caffe, ``src/caffe/proto/caffe.proto``: NetParameter.layers = 2 (V1LayerParameter: name = 4, blobs = 6),
NetParameter.layer = 100 (LayerParameter: name = 1, blobs = 7), BlobProto: num, channels, height, width = 1-4, data = 5,
shape = 7 (BlobShape.dim = 1), double_data = 8.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferbench.errors import WeightsError
from transferbench.nets.importers.layers import Tensors, last_channels, map_side

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_OLD_LAYER, _NEW_LAYER = 2, 100
_FIELDS = {_OLD_LAYER: (4, 6), _NEW_LAYER: (1, 7)}
_MOST_AXES = 8

Field = tuple[int, int, Any]
Blob = NDArray[np.float32]


class _MalformedError(Exception):
    """The bytes are not those of a message."""


def read(path: Path) -> Tensors:
    """Read a ``.caffemodel``.

    Parameters
    ----------
    path : Path
        A NetParameter message, of the old layers or the new.

    Returns
    -------
    Tensors
        Still in BGR.

    Raises
    ------
    WeightsError
        If it is no such message, or a layer has not one kernel and one bias.
    """
    try:
        layers = parse(memoryview(path.read_bytes()))
    except OSError as problem:
        msg = f"{path}: cannot be read: {problem.strerror}"
        raise WeightsError(msg) from problem
    except _MalformedError as problem:
        msg = f"{path}: is no .caffemodel: {problem}"
        raise WeightsError(msg) from problem
    return _convert(layers, path)


def parse(data: memoryview) -> dict[str, list[Blob]]:
    """Take the blobs out of a message.

    Parameters
    ----------
    data : memoryview
        The whole message.

    Returns
    -------
    dict of str to list of ndarray
        Layer name to copies of its blobs; layers without blobs are left out.

    Raises
    ------
    _MalformedError
        If the bytes are not a message of these fields.
    """
    layers: dict[str, list[Blob]] = {}
    for number, wire, value in _fields(data):
        if number in _FIELDS and wire == _BYTES:
            name, blobs = _layer(value, *_FIELDS[number])
            if blobs and name in layers:
                msg = f"two layers are called {name!r}"
                raise _MalformedError(msg)
            if blobs:
                layers[name] = blobs
    return layers


def _layer(data: memoryview, name_field: int, blob_field: int) -> tuple[str, list[Blob]]:
    name, blobs = "", []
    for number, wire, value in _fields(data):
        if number == name_field and wire == _BYTES:
            try:
                name = bytes(value).decode()
            except UnicodeDecodeError as problem:
                msg = "a layer's name is not text"
                raise _MalformedError(msg) from problem
        elif number == blob_field and wire == _BYTES:
            blobs.append(_blob(value))
    return name, blobs


def _blob(data: memoryview) -> Blob:
    old_shape = [1, 1, 1, 1]
    shape: list[int] | None = None
    parts: list[NDArray[Any]] = []
    for number, wire, value in _fields(data):
        if 1 <= number <= 4 and wire == _VARINT:
            old_shape[number - 1] = value
        elif number == 7 and wire == _BYTES:
            shape = _dims(value)
        elif number in {5, 8} and wire in {_BYTES, _FIXED32, _FIXED64}:
            parts.append(_numbers(value, "<f4" if number == 5 else "<f8"))
    values = parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, np.float32)])
    shape = old_shape if shape is None else shape
    if not len(values) or prod(shape) != len(values):
        msg = f"a blob of shape {tuple(shape)} has {len(values)} values"
        raise _MalformedError(msg)
    return values.astype(np.float32).reshape(shape)


def _numbers(value: memoryview, dtype: str) -> NDArray[Any]:
    if len(value) % np.dtype(dtype).itemsize:
        msg = f"{len(value)} bytes are no whole number of {dtype} values"
        raise _MalformedError(msg)
    return np.frombuffer(value, dtype)


def _dims(data: memoryview) -> list[int]:
    dims: list[int] = []
    for number, wire, value in _fields(data):
        if number == 1 and wire == _VARINT:
            dims.append(value)
        elif number == 1 and wire == _BYTES:
            position = 0
            while position < len(value):
                dim, position = _varint(value, position)
                dims.append(dim)
        if len(dims) > _MOST_AXES:
            msg = f"a blob has more than {_MOST_AXES} axes"
            raise _MalformedError(msg)
    return dims


def _fields(data: memoryview) -> Iterator[Field]:
    """Walk over the fields of a message: number, wire type, value."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, wire, value
            continue
        if wire == _BYTES:
            length, position = _varint(data, position)
        elif wire in {_FIXED32, _FIXED64}:
            length = 4 if wire == _FIXED32 else 8
        else:
            msg = f"there is no wire type {wire} (field {number})"
            raise _MalformedError(msg)
        if number == 0 or length > len(data) - position:
            msg = f"field {number} of {length} bytes reaches beyond its message"
            raise _MalformedError(msg)
        yield number, wire, data[position : position + length]
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(data):
            msg = "the message ends inside a number"
            raise _MalformedError(msg)
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    msg = "a number has more than ten bytes"
    raise _MalformedError(msg)


def _convert(layers: dict[str, list[Blob]], path: Path) -> Tensors:
    arrays: dict[str, NDArray[Any]] = {}
    origin: dict[str, str] = {}
    for name, blobs in layers.items():
        if len(blobs) != 2:
            msg = f"{path}: layer {name} has {len(blobs)} blobs; a layer of the paper's nets has a kernel and a bias"
            raise WeightsError(msg)
        kernel, bias = blobs
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = kernel, np.ravel(bias)
        origin[f"{name}.weight"], origin[f"{name}.bias"] = f"{name} blob 0", f"{name} blob 1"
    if "fc6.weight" in arrays:
        channels = last_channels(arrays, str(path))
    for name in [key for key in ("fc6.weight", "fc7.weight", "fc8.weight") if key in arrays]:
        matrix = arrays[name].reshape(-1, arrays[name].shape[-1]) if arrays[name].ndim else arrays[name].reshape(1, 1)
        side = map_side(matrix.shape[1], channels, f"{path}: {name}") if name == "fc6.weight" else 1
        arrays[name] = matrix.reshape(len(matrix), -1, side, side)
    return Tensors(arrays, origin)
