"""Whether tensors are those of a net: names and shapes against Table 1, by arithmetic. Needs no torch."""

from collections.abc import Mapping, Sequence

from transferbench.errors import WeightsError
from transferbench.nets import vgg
from transferbench.types.net import N_POOLINGS, NetSpec, PoolRounding

Shapes = Mapping[str, tuple[int, ...]]
MOST_LINES = 12


def expected_shapes(spec: NetSpec) -> dict[str, tuple[int, ...]]:
    """List the tensors of a net.

    Parameters
    ----------
    spec : NetSpec
        A column of Table 1.

    Returns
    -------
    dict of str to tuple of int
        ``conv1_1.weight`` ... ``fc8.bias``; weights as (outputs, inputs, height, width).
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in vgg.weight_layers(spec):
        shapes[f"{layer.name}.weight"] = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
        shapes[f"{layer.name}.bias"] = (layer.outputs,)
    return shapes


def differences(found: Shapes, spec: NetSpec) -> list[str]:
    """Compare tensors with those of a net.

    Parameters
    ----------
    found : mapping of str to tuple of int
        Names and shapes.
    spec : NetSpec
        What they should be.

    Returns
    -------
    list of str
        A line per missing, unexpected or misshapen tensor; empty if all fit.
    """
    expected = expected_shapes(spec)
    lines = [f"missing {name} {expected[name]}" for name in expected if name not in found]
    lines += [f"unexpected {name} {found[name]}" for name in sorted(found.keys() - expected.keys())]
    lines += [
        f"{name} has shape {found[name]}, expected {shape}"
        for name, shape in expected.items()
        if found.get(name, shape) != shape
    ]
    return lines


def spec_of(
    found: Shapes, *, net: str | None, pool_rounding: PoolRounding, where: str, origin: Mapping[str, str]
) -> NetSpec:
    """Tell which net some tensors belong to.

    Parameters
    ----------
    found : mapping of str to tuple of int
        Names and shapes.
    net : str or None
        The column of Table 1 that they must be; None takes the one they fit. A-LRN has the tensors of A and must be
        named.
    pool_rounding : {"ceil", "floor"}
        How their pooling rounds, which no tensor shows.
    where : str
        The file, for messages.
    origin : mapping of str to str
        Names of the tensors in that file, for messages.

    Returns
    -------
    NetSpec
        Width, crop and number of classes follow from the shapes.

    Raises
    ------
    WeightsError
        If they fit no net, or not the one that is asked for: with every difference from the nearest.
    """
    width, crop, n_classes = _sizes(found, where)
    candidates = {
        name: NetSpec(name=name, width=width, crop=crop, n_classes=n_classes, pool_rounding=pool_rounding)
        for name in ([net] if net else [name for name in vgg.TABLE_1 if name != "A-LRN"])
    }
    lines = {name: differences(found, spec) for name, spec in candidates.items()}
    nearest = min(lines, key=lambda name: len(lines[name]))
    if lines[nearest]:
        fitting = "" if net is None else _other(found, candidates[net], net)
        raise WeightsError(
            misfit(where, candidates[nearest], [_with_origin(x, origin) for x in lines[nearest]], fitting)
        )
    return candidates[nearest]


def misfit(where: str, spec: NetSpec, lines: Sequence[str], remark: str = "") -> str:
    """Say that a file does not hold a net.

    Parameters
    ----------
    where : str
        The file.
    spec : NetSpec
        The net.
    lines : sequence of str
        The differences; of very many the first are shown.
    remark : str
        What else the user should know.

    Returns
    -------
    str
        Several lines.
    """
    more = [f"... and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    return "\n  ".join([f"{where}: does not hold {spec}{remark}:", *lines[:MOST_LINES], *more])


def _sizes(found: Shapes, where: str) -> tuple[float, int, int]:
    """Read width, crop and number of classes off the first, sixth and last layer."""
    needed = {"conv1_1.weight": 4, "fc6.weight": 4, "fc8.weight": 4}
    bad = [name for name, n_axes in needed.items() if len(found.get(name, ())) != n_axes]
    if bad:
        have = ", ".join(sorted(found)[:MOST_LINES]) or "no tensor"
        msg = (
            f"{where}: is no net of Table 1: {', '.join(bad)} not found (there is {have} ...).\n"
            "  Transfer needs fc6 and fc7 too; a file without the classifier ('notop', 'features') does not hold them."
        )
        raise WeightsError(msg)
    try:
        spec = NetSpec(
            name="D",
            width=found["conv1_1.weight"][0] / 64,
            crop=2**N_POOLINGS * found["fc6.weight"][-1],
            n_classes=found["fc8.weight"][0],
        )
    except ValueError as problem:
        msg = f"{where}: is no net of Table 1: {problem}"
        raise WeightsError(msg) from problem
    return spec.width, spec.crop, spec.n_classes


def _other(found: Shapes, spec: NetSpec, net: str) -> str:
    """Name the net that the tensors do fit."""
    for name in vgg.TABLE_1:
        other = NetSpec(name=name, width=spec.width, crop=spec.crop, n_classes=spec.n_classes)
        if name != net and not differences(found, other):
            return f" but that of net {name}"
    return ""


def _with_origin(line: str, origin: Mapping[str, str]) -> str:
    name = next((word for word in line.split(" ") if word in origin), None)
    return line if name is None or origin[name] == name else f"{line} (in the file: {origin[name]})"
