"""Weights that others published → ours: one module per file format, each with its exact conversion.

Every reader turns a file into arrays under our names and axes, (outputs, inputs, height, width), fc6 included. What the
file's format says about its input (channel order, range, mean) stands in `FORMATS`, and nowhere is it guessed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from transferbench.nets.header import ClassOrder
from transferbench.nets.importers import caffe, keras, matconvnet, pytorch
from transferbench.nets.importers.layers import Tensors
from transferbench.types.net import PoolRounding
from transferbench.types.preprocessing import MEAN_RGB_ILSVRC, Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """What weights expect as input.

    Parameters
    ----------
    preprocessing : Preprocessing
        From bytes to input.
    pool_rounding : {"ceil", "floor"}
        Of the program that they were trained with.
    """

    preprocessing: Preprocessing
    pool_rounding: PoolRounding


_PAPER = Preprocessing()
CONVENTIONS: dict[str, Convention] = {
    "rgb-mean": Convention(preprocessing=_PAPER, pool_rounding="ceil"),
    "bgr-mean": Convention(
        preprocessing=replace(_PAPER, channel_order="BGR", mean=MEAN_RGB_ILSVRC[::-1]), pool_rounding="ceil"
    ),
    "torchvision": Convention(
        preprocessing=Preprocessing(
            value_range=1.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), interpolation="bilinear"
        ),
        pool_rounding="floor",
    ),
}
"""The kinds of input that VGG weights are published for: RGB or BGR, 0-255, minus the mean; torchvision's [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How one kind of file is read.

    Parameters
    ----------
    what : str
        For people.
    read : callable
        File to arrays under our names.
    convention : str or None
        Key of `CONVENTIONS`; None when the file's kind does not tell and the user must.
    class_order : str
        Of the outputs.
    """

    what: str
    read: Callable[[Path], Tensors]
    convention: str | None
    class_order: ClassOrder


FORMATS: dict[str, Format] = {
    "caffe": Format(
        what="Caffe's .caffemodel, as the authors released it",
        read=caffe.read,
        convention="bgr-mean",
        class_order="wnid",
    ),
    "keras": Format(what="Keras' .h5, TensorFlow kernels", read=keras.read, convention="bgr-mean", class_order="wnid"),
    "matconvnet": Format(what="MatConvNet's .mat", read=matconvnet.read, convention="rgb-mean", class_order="wnid"),
    "pytorch-bgr": Format(
        what="the PyTorch conversion of the authors' models (classifier.1, .4, .6)",
        read=pytorch.read_converted,
        convention="bgr-mean",
        class_order="wnid",
    ),
    "torchvision": Format(
        what="torchvision's .pth (classifier.0, .3, .6)",
        read=pytorch.read_torchvision,
        convention="torchvision",
        class_order="wnid",
    ),
    "state-dict": Format(
        what="a state dict of a VGG by the names of torchvision, timm or this program; its --input must be said",
        read=pytorch.read_any,
        convention=None,
        class_order="unknown",
    ),
}
"""Names of ``tb weights import --format``."""
