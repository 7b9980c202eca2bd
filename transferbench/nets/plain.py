"""The trunk of a net of Table 1 as plain arrays."""

from transferbench.layers import Convolution, MaxPooling, PlainLayer, ResponseNormalisation
from transferbench.nets import vgg
from transferbench.nets.modules import LRN_ALPHA, LRN_BETA, LRN_K, LRN_SIZE, VGG


def plain_trunk(net: VGG) -> tuple[PlainLayer, ...]:
    """List the layers up to the last pooling.

    Parameters
    ----------
    net : VGG
        On the CPU; its arrays are shared, not copied, where their memory is in the usual order.

    Returns
    -------
    tuple of PlainLayer
        Convolutions with their ReLUs, normalisations and poolings, in order.
    """
    layers: list[PlainLayer] = []
    for block in vgg.blocks(net.spec):
        for layer in block:
            weight, bias = (net.get_parameter(f"{layer.name}.{kind}") for kind in ("weight", "bias"))
            layers.append(
                Convolution(weight.detach().contiguous().numpy(), bias.detach().numpy(), padding=layer.padding)
            )
            if layer.lrn:
                layers.append(ResponseNormalisation(LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_K))
        layers.append(MaxPooling(ceil=net.spec.pool_rounding == "ceil"))
    return tuple(layers)
