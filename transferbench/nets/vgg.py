"""The configurations of Table 1 as data, and what follows from them by arithmetic. Needs no torch."""

from dataclasses import dataclass

from transferbench.types.net import N_POOLINGS, NetSpec


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution of Table 1.

    Parameters
    ----------
    kernel : int
        Side in px; 1, 3 or 5. Padding keeps the resolution.
    channels : int
        Outputs at the paper's width.
    lrn : bool
        Whether local response normalisation follows the ReLU.
    """

    kernel: int
    channels: int
    lrn: bool = False


def _block(channels: int, *kernels: int) -> tuple[Conv, ...]:
    return tuple(Conv(kernel, channels) for kernel in kernels)


Blocks = tuple[tuple[Conv, ...], ...]

TABLE_1: dict[str, Blocks] = {
    "A": (_block(64, 3), _block(128, 3), _block(256, 3, 3), _block(512, 3, 3), _block(512, 3, 3)),
    "A-LRN": ((Conv(3, 64, lrn=True),), _block(128, 3), _block(256, 3, 3), _block(512, 3, 3), _block(512, 3, 3)),
    "B": (_block(64, 3, 3), _block(128, 3, 3), _block(256, 3, 3), _block(512, 3, 3), _block(512, 3, 3)),
    "C": (_block(64, 3, 3), _block(128, 3, 3), _block(256, 3, 3, 1), _block(512, 3, 3, 1), _block(512, 3, 3, 1)),
    "D": (_block(64, 3, 3), _block(128, 3, 3), _block(256, 3, 3, 3), _block(512, 3, 3, 3), _block(512, 3, 3, 3)),
    "E": (
        _block(64, 3, 3),
        _block(128, 3, 3),
        _block(256, 3, 3, 3, 3),
        _block(512, 3, 3, 3, 3),
        _block(512, 3, 3, 3, 3),
    ),
    "B-5x5": (_block(64, 5), _block(128, 5), _block(256, 5), _block(512, 5), _block(512, 5)),
}
"""Five blocks each, a 2 x 2 max-pooling of stride 2 after every block, then FC-4096, FC-4096, FC-1000.

The last is not in the table: the shallow net of Sect. 4.1, net B with one 5 x 5 convolution for every two of 3 x 3.
"""

FC_WIDTH = 4096

LAYERS = {"fc7": "fc7+relu", "fc6": "fc6+relu", "pool5": "pool5"}
"""Names of ``--layer`` and of what comes out: fc7 and fc6 after their ReLU, and the last pooling, which follows one."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One weight layer of a net, with its sizes worked out.

    Parameters
    ----------
    name : str
        As in the authors' released models: ``conv3_1``, ``fc6``.
    kernel : int
        Side in cells of its input.
    inputs, outputs : int
        Channels.
    padding : int
        Zeros on every side.
    lrn : bool
        Whether local response normalisation follows.
    """

    name: str
    kernel: int
    inputs: int
    outputs: int
    padding: int
    lrn: bool = False

    @property
    def n_parameters(self) -> int:
        """Weights and biases."""
        return self.outputs * (self.inputs * self.kernel**2 + 1)


def blocks(spec: NetSpec) -> tuple[tuple[Layer, ...], ...]:
    """Work out the convolutions of a net, block by block.

    Parameters
    ----------
    spec : NetSpec
        A column of Table 1 and its width.

    Returns
    -------
    tuple of tuples of Layer
        Five blocks.
    """
    inputs = 3
    result = []
    for number, convs in enumerate(TABLE_1[spec.name], start=1):
        layers = []
        for position, conv in enumerate(convs, start=1):
            outputs = int(conv.channels * spec.width)
            layers.append(Layer(f"conv{number}_{position}", conv.kernel, inputs, outputs, conv.kernel // 2, conv.lrn))
            inputs = outputs
        result.append(tuple(layers))
    return tuple(result)


def fully_connected(spec: NetSpec) -> tuple[Layer, Layer, Layer]:
    """Work out fc6, fc7 and fc8 as convolutions.

    Parameters
    ----------
    spec : NetSpec
        A column of Table 1, its width, crop and classes.

    Returns
    -------
    tuple of Layer
        fc6 covers the whole last map of a crop, fc7 and fc8 one cell; none is padded.
    """
    last = blocks(spec)[-1][-1].outputs
    hidden = int(FC_WIDTH * spec.width)
    return (
        Layer("fc6", spec.fc6_side, last, hidden, 0),
        Layer("fc7", 1, hidden, hidden, 0),
        Layer("fc8", 1, hidden, spec.n_classes, 0),
    )


def weight_layers(spec: NetSpec) -> tuple[Layer, ...]:
    """List all weight layers in order.

    Parameters
    ----------
    spec : NetSpec
        The net.

    Returns
    -------
    tuple of Layer
        11 for net A ... 19 for net E.
    """
    return (*(layer for block in blocks(spec) for layer in block), *fully_connected(spec))


def margin_px(spec: NetSpec) -> int:
    """Tell how far a cell of the last pooling's map sees beyond its own pixels.

    Parameters
    ----------
    spec : NetSpec
        The net.

    Returns
    -------
    int
        On every side, in px of the image, rounded up to whole cells; 96 for net D, 128 for net E.
    """
    cell = 1 << N_POOLINGS
    # A convolution of side k in block b looks (k - 1) / 2 of its own pixels further, each of them 2^b px.
    seen = sum((layer.kernel // 2) << number for number, block in enumerate(blocks(spec)) for layer in block)
    return -(-seen // cell) * cell


def n_parameters(spec: NetSpec) -> int:
    """Count weights and biases.

    Parameters
    ----------
    spec : NetSpec
        The net.

    Returns
    -------
    int
        Exact; the paper's Table 2 gives it in millions.
    """
    return sum(layer.n_parameters for layer in weight_layers(spec))


def crop_macs(spec: NetSpec) -> int:
    """Count the multiply-accumulate operations of one training crop.

    Parameters
    ----------
    spec : NetSpec
        The net; the crop's side is its own.

    Returns
    -------
    int
        Convolutions and fully connected layers; biases, pooling and normalisation are not counted.
    """
    total, side = 0, spec.crop
    for block in blocks(spec):
        total += sum(layer.outputs * layer.inputs * layer.kernel**2 * side**2 for layer in block)
        side //= 2
    return total + sum(layer.outputs * layer.inputs * layer.kernel**2 for layer in fully_connected(spec))
