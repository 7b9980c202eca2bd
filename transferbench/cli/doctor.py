"""`tb doctor`."""

from dataclasses import asdict
from pathlib import Path

import click

from transferbench.cli.options import home_option, json_option
from transferbench.cli.terminal import print_json, print_text


@click.command()
@home_option
@json_option
def doctor(home: Path, as_json: bool) -> None:
    """Look at this machine: versions, devices, memory, disk, engines.

    Says which engine `--engine auto` takes on the CPU and on GPUs, and why not the other; which optional packages are
    missing; and what is wrong or makes work slow, with what to do about it. Exits with 1 if something prevents work.
    Datasets are looked at by `tb datasets check`, a recipe's costs by `tb plan`, the cache by `tb cache verify`.

    \b
    Example:
      tb doctor
    """
    from transferbench.home import Home
    from transferbench.pipeline.machine import look_round
    from transferbench.reporting.machine import machine_text

    found = look_round(Home.at(home))
    if as_json:
        print_json(asdict(found) | {"good": found.good})
    else:
        print_text(machine_text(asdict(found)))
    if not found.good:
        n_wrong = sum(finding.severity == "wrong" for finding in found.findings)
        msg = f"{n_wrong} thing(s) prevent work"
        raise click.ClickException(msg)
