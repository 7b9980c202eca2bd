"""`tb nets`."""

import click

from transferbench.cli.options import json_option
from transferbench.cli.terminal import print_table


@click.group()
def nets() -> None:
    """Show the nets of the paper's Table 1."""


@nets.command("list")
@json_option
def list_nets(as_json: bool) -> None:
    """List nets with their exact sizes.

    Parameters count weights and biases; GMACs are multiply-accumulate operations, in thousand millions, for one 224-px
    crop.

    \b
    Example:
      tb nets list --json
    """
    from transferbench.nets import vgg
    from transferbench.types.net import NetSpec

    specs = [NetSpec(name=name) for name in vgg.TABLE_1]
    rows = [
        [spec.name, len(vgg.weight_layers(spec)), vgg.n_parameters(spec), round(vgg.crop_macs(spec) / 1e9, 2)]
        for spec in specs
    ]
    head = ("net", "weight layers", "parameters", "GMACs")
    print_table(head, rows, right=head[1:], as_json=as_json)
