"""MatConvNet's VGG files: MATLAB, kernels (height, width, inputs, outputs), fc6 a 7 x 7 convolution, RGB."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferbench.errors import WeightsError
from transferbench.nets.importers.layers import Tensors, contiguous
from transferbench.types.preprocessing import MEAN_RGB_ILSVRC

_MEAN_TOLERANCE = 0.01


def read(path: Path) -> Tensors:
    """Read a simplenn model: ``imagenet-vgg-verydeep-16.mat`` or ``-19.mat``.

    Parameters
    ----------
    path : Path
        A MAT file of version 5 or 7.

    Returns
    -------
    Tensors
        RGB, as MatConvNet stores them.

    Raises
    ------
    WeightsError
        If it is no such file, has batch normalisation, or its average colour is not that of the paper's nets.
    """
    content = _load(path)
    try:
        _check_mean(content, path)
        return _convert([_one(cell) for cell in np.ravel(content["layers"])], path)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as problem:
        msg = f"{path}: is no MatConvNet model: {type(problem).__name__}: {problem}"
        raise WeightsError(msg) from problem


def _load(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat  # noqa: PLC0415 - only this format needs it

    try:
        # Nothing is squeezed: the axes of a 1 x 1 convolution must stay.
        content: dict[str, Any] = loadmat(
            path, appendmat=False, struct_as_record=False, variable_names=["layers", "meta", "normalization"]
        )
    except NotImplementedError as problem:
        msg = f"{path}: is a MAT file of version 7.3; save it with `-v7`"
        raise WeightsError(msg) from problem
    except Exception as problem:  # scipy raises whatever a damaged file makes it stumble over
        msg = f"{path}: cannot be read as a MAT file: {type(problem).__name__}: {problem}"
        raise WeightsError(msg) from problem
    return content


def _convert(layers: list[Any], path: Path) -> Tensors:
    arrays: dict[str, NDArray[Any]] = {}
    origin: dict[str, str] = {}
    for position, layer in enumerate(layers):
        kind = str(_one(layer.type))
        if kind == "bnorm":
            msg = f"{path}: has batch normalisation, so it is not the paper's net; that one is imagenet-vgg-verydeep-16"
            raise WeightsError(msg)
        if kind != "conv":
            continue
        name = str(_one(layer.name))
        kernel, bias = _weights(layer)
        for key, array in ((f"{name}.weight", _as_kernel(kernel)), (f"{name}.bias", np.ravel(bias))):
            if key in arrays:
                msg = f"{path}: two layers are called {name}"
                raise WeightsError(msg)
            arrays[key] = contiguous(array)
            origin[key] = f"layers{{{position + 1}}} {name}"
    return Tensors(arrays, origin)


def _weights(layer: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return kernel and bias; the first versions of MatConvNet called them filters and biases."""
    if hasattr(layer, "weights"):
        kernel, bias = np.ravel(layer.weights)
        return kernel, bias
    return layer.filters, layer.biases


def _as_kernel(kernel: NDArray[Any]) -> NDArray[Any]:
    # MATLAB drops the last axes where they are 1.
    full = kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim))
    return full.transpose(3, 2, 0, 1)


def _check_mean(content: dict[str, Any], path: Path) -> None:
    """Refuse a model that subtracts another colour, or the same one in BGR."""
    holder = _one(content["meta"]) if "meta" in content else None
    normalization = _one(getattr(holder, "normalization", content.get("normalization")))
    stated = getattr(normalization, "averageImage", None)
    if stated is None or np.size(stated) == 0:
        return
    mean = np.asarray(stated, dtype=np.float64).reshape(-1, 3, order="F").mean(axis=0)
    if np.abs(mean - MEAN_RGB_ILSVRC).max() > _MEAN_TOLERANCE:
        msg = (
            f"{path}: subtracts {', '.join(f'{value:.3f}' for value in mean)}; the paper's nets subtract "
            f"{', '.join(map(str, MEAN_RGB_ILSVRC))} (red, green, blue). This is another model."
        )
        raise WeightsError(msg)


def _one(value: Any) -> Any:
    """Take the single element out of MATLAB's 1 x 1 arrays."""
    while isinstance(value, np.ndarray) and value.size == 1:
        value = value.flat[0]
    return value
