"""PyTorch state dicts of VGG nets. They are pickles: only tensors are let through, and no code in them runs."""

import pickle
import re
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from transferbench.errors import WeightsError
from transferbench.nets.importers.layers import Tensors, by_block, last_channels, map_side

State = dict[str, torch.Tensor]

TORCHVISION_CLASSIFIER = ("0", "3", "6")
CONVERTED_CLASSIFIER = ("1", "4", "6")
_LAYOUTS = {
    TORCHVISION_CLASSIFIER: (
        "classifier.0, .3, .6 is torchvision's layout: --format torchvision. If it is the conversion of the authors' "
        "models with its keys renamed: --format state-dict --input bgr-mean"
    ),
    CONVERTED_CLASSIFIER: (
        "classifier.1, .4, .6 is the layout of the conversion of the authors' models, which expects BGR: "
        "--format pytorch-bgr"
    ),
}
"""What to do with a file that is given under the other's format."""
_FC = ("fc6", "fc7", "fc8")
_TIMM = {"pre_logits.fc1": "fc6", "pre_logits.fc2": "fc7", "head.fc": "fc8"}
_NORMALISED = re.compile(r"running_(mean|var)$")


def read_torchvision(path: Path) -> Tensors:
    """Read a state dict of torchvision's VGG (without batch normalisation).

    Parameters
    ----------
    path : Path
        ``vgg16-397923af.pth`` and its like.

    Returns
    -------
    Tensors
        RGB.

    Raises
    ------
    WeightsError
        If it holds anything but tensors, no classifier, or the layout of another conversion.
    """
    return _read(path, TORCHVISION_CLASSIFIER)


def read_converted(path: Path) -> Tensors:
    """Read the PyTorch conversion of the authors' Caffe models.

    Parameters
    ----------
    path : Path
        ``vgg16-00b39a1b.pth`` or ``vgg19-d01eb7cb.pth``.

    Returns
    -------
    Tensors
        Still in BGR.

    Raises
    ------
    WeightsError
        If it holds anything but tensors, or has torchvision's layout.
    """
    return _read(path, CONVERTED_CLASSIFIER)


def read_any(path: Path) -> Tensors:
    """Read a state dict of a VGG by the names of torchvision, of timm or of this program.

    Parameters
    ----------
    path : Path
        A pickle, or a safetensors file.

    Returns
    -------
    Tensors
        In the channel order that only its owner knows.

    Raises
    ------
    WeightsError
        If it holds anything but tensors, or no VGG.
    """
    state = load_state(path)
    if any(key.startswith("conv1_1.") for key in state):
        arrays = {key: _array(key, tensor, path) for key, tensor in state.items()}
        return Tensors(arrays, {key: key for key in arrays})
    return _convert(state, _classifier(state) or TORCHVISION_CLASSIFIER, path)


def load_state(path: Path) -> State:
    """Load a foreign state dict without running anything in it.

    Parameters
    ----------
    path : Path
        Made by ``torch.save``, or a safetensors file.

    Returns
    -------
    dict of str to Tensor
        On the CPU; a wrapping ``state_dict`` and the prefix ``module.`` of parallel training are taken off.

    Raises
    ------
    WeightsError
        If the file is damaged, or holds code or objects beside tensors.
    """
    content = _load(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        msg = f"{path}: holds no state dict but {type(content).__name__}"
        raise WeightsError(msg)
    odd = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if odd:
        msg = f"{path}: holds values beside tensors: {', '.join(odd[:5])}. Save the net's state_dict() alone."
        raise WeightsError(msg)
    return {str(key).removeprefix("module."): tensor for key, tensor in content.items()}


def _read(path: Path, classifier: tuple[str, ...]) -> Tensors:
    state = load_state(path)
    found = _classifier(state)
    if found != classifier and found in _LAYOUTS:
        msg = f"{path}: {_LAYOUTS[found]}"
        raise WeightsError(msg)
    return _convert(state, classifier, path)


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError  # noqa: PLC0415
        from safetensors.torch import load_file  # noqa: PLC0415

        try:
            return load_file(path)
        except (SafetensorError, OSError) as problem:
            msg = f"{path}: cannot be read as safetensors: {problem}"
            raise WeightsError(msg) from problem
    try:
        with warnings.catch_warnings():  # of an unusual pickle protocol: what comes of it is the error below
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except pickle.UnpicklingError as problem:
        msg = (
            f"{path}: holds code or objects beside tensors, or is damaged; nothing in it was run. If you trust it, "
            f"save its state_dict() alone on the machine it comes from. ({_first_line(problem)})"
        )
        raise WeightsError(msg) from problem
    except Exception as problem:  # torch.load raises whatever a damaged archive makes it stumble over
        msg = f"{path}: cannot be read as a PyTorch file: {_first_line(problem)}"
        raise WeightsError(msg) from problem


def _first_line(problem: Exception) -> str:
    return (str(problem) or type(problem).__name__).splitlines()[0][:200]


def _classifier(state: State) -> tuple[str, ...] | None:
    """Return the indices of the classifier's weight layers."""
    found = sorted({key.split(".")[1] for key in state if re.fullmatch(r"classifier\.\d+\.weight", key)}, key=int)
    return tuple(found) if found else None


def _convert(state: State, classifier: tuple[str, ...], path: Path) -> Tensors:
    if any(_NORMALISED.search(key) for key in state):
        msg = f"{path}: has batch normalisation, so it is no net of Table 1"
        raise WeightsError(msg)
    names = _convolutions(state, path)
    names |= {f"classifier.{index}": name for index, name in zip(classifier, _FC, strict=False)}
    names |= _TIMM
    arrays: dict[str, NDArray[Any]] = {}
    origin: dict[str, str] = {}
    for key, tensor in state.items():
        layer, _, kind = key.rpartition(".")
        ours = f"{names.get(layer, layer)}.{kind}"
        arrays[ours], origin[ours] = _array(key, tensor, path), key
    _refuse_without_classifier(arrays, path)
    channels = last_channels(arrays, str(path))
    for name in [f"{fc}.weight" for fc in _FC]:
        matrix = arrays[name]
        if matrix.ndim == 2:  # flattened channel, height, width: our own axes
            side = map_side(matrix.shape[1], channels, f"{path}: {origin[name]}") if name == "fc6.weight" else 1
            arrays[name] = matrix.reshape(len(matrix), -1, side, side)
    return Tensors(arrays, origin)


def _convolutions(state: State, path: Path) -> dict[str, str]:
    """Name ``features.N`` by block: a convolution and its ReLU take two places, a pooling one more."""
    places = sorted(int(m[1]) for key in state if (m := re.fullmatch(r"features\.(\d+)\.weight", key)))
    if not places:
        msg = f"{path}: has no features.N.weight; its keys are {', '.join(sorted(state)[:8])} ..."
        raise WeightsError(msg)
    per_block = [1]
    for before, here in pairwise(places):
        if here - before == 2:
            per_block[-1] += 1
        else:
            per_block.append(1)
    return {f"features.{place}": name for place, name in zip(places, by_block(per_block), strict=True)}


def _refuse_without_classifier(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    missing = [fc for fc in _FC if f"{fc}.weight" not in arrays or not _finite(arrays[f"{fc}.weight"])]
    if missing:
        msg = (
            f"{path}: has no classifier ({', '.join(missing)} missing or not finite), and fc7 is what transfer needs. "
            "torchvision's IMAGENET1K_FEATURES is such a file; take IMAGENET1K_V1."
        )
        raise WeightsError(msg)


def _finite(array: NDArray[Any]) -> bool:
    return bool(torch.isfinite(torch.from_numpy(array)).all())


def _array(key: str, tensor: torch.Tensor, path: Path) -> NDArray[Any]:
    if tensor.dtype not in {torch.float16, torch.float32, torch.float64} or tensor.layout != torch.strided:
        msg = f"{path}: {key} is {tensor.dtype} ({tensor.layout}), expected float32"
        raise WeightsError(msg)
    array: NDArray[Any] = tensor.detach().contiguous().numpy()
    return array
