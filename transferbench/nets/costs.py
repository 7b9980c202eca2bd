"""What a dense net costs on an image of some size, by arithmetic alone. Needs no torch."""

from functools import lru_cache

from transferbench.nets.vgg import LAYERS, blocks, fully_connected
from transferbench.types.net import NetSpec


@lru_cache(maxsize=1 << 16)
def dense_macs(spec: NetSpec, width: int, height: int, *, layer: str = LAYERS["fc7"]) -> int:
    """Count the multiply-accumulate operations of the dense net on one image.

    Parameters
    ----------
    spec : NetSpec
        A net of Table 1.
    width, height : int
        Of the rescaled image, in px.
    layer : {"fc7+relu", "fc6+relu", "pool5"}
        Where it ends.

    Returns
    -------
    int
        Convolutions and fully connected layers as convolutions; biases, pooling and normalisation are not counted. The
        mirrored image costs the same again.

    Raises
    ------
    ValueError
        If the image is too small for a single position.
    """
    total, round_up = 0, spec.pool_rounding == "ceil"
    for block in blocks(spec):
        total += sum(conv.outputs * conv.inputs * conv.kernel**2 * width * height for conv in block)
        width, height = (-(-side // 2) if round_up else side // 2 for side in (width, height))
    if layer == LAYERS["pool5"]:
        return total
    fc6, fc7, _ = fully_connected(spec)
    positions = (width - fc6.kernel + 1) * (height - fc6.kernel + 1)
    if min(width, height) < fc6.kernel:
        msg = f"a map of {width} x {height} cells has no position for {spec}"
        raise ValueError(msg)
    chosen = (fc6, fc7) if layer == LAYERS["fc7"] else (fc6,)
    return total + positions * sum(fc.outputs * fc.inputs * fc.kernel**2 for fc in chosen)


def descriptor_dimensions(spec: NetSpec, layer: str = LAYERS["fc7"]) -> int:
    """Tell how long a descriptor is.

    Parameters
    ----------
    spec : NetSpec
        A net of Table 1.
    layer : {"fc7+relu", "fc6+relu", "pool5"}
        What is pooled over positions.

    Returns
    -------
    int
        Values per row.
    """
    return blocks(spec)[-1][-1].outputs if layer == LAYERS["pool5"] else fully_connected(spec)[0].outputs
