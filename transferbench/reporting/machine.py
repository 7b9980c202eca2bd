"""A machine in words: what `tb doctor` prints. Takes the plain values that ``--json`` prints."""

from collections.abc import Mapping
from typing import Any

from transferbench.reporting.tables import text_table

_MARKS = {"wrong": "WRONG", "slow": "slow", "info": ""}


def machine_text(machine: Mapping[str, Any]) -> str:
    """Tell of a machine.

    Parameters
    ----------
    machine : mapping
        Fields of a `Machine`.

    Returns
    -------
    str
        Versions, devices, engines, what was found, each in a paragraph of its own.
    """
    packages = machine["packages"] | {name: v for extra in machine["extras"].values() for name, v in extra.items()}
    head = [
        f"transferbench {machine['program']}, Python {machine['python']}, {machine['platform']}",
        f"{machine['cores']} of {machine['machine_cores']} cores, {machine['threads']} thread(s) for torch, "
        f"{machine['matrix_product_gflop_per_s']:,.0f} GFLOP/s in a float32 matrix product",
        f"work folder {machine['home']}: {machine['home_free_bytes'] / 1e9:,.1f} GB free",
    ]
    devices = [
        [
            device["name"],
            device["what"],
            f"{device['free_bytes'] / 1e9:,.1f} of {device['total_bytes'] / 1e9:,.1f} GB free"
            if device["there"]
            else "not there",
        ]
        for device in machine["devices"]
    ]
    choices = [
        [choice["device"], choice["nets"], choice["engine"] or "none", choice["precision"], choice["why"]]
        for choice in machine["auto"]
    ]
    tables = [
        text_table(("device", "what", "memory"), devices),
        "--engine auto takes:\n" + text_table(("device", "nets", "engine", "precision", "why"), choices),
        text_table(("package", "version"), [[name, found] for name, found in packages.items()]),
    ]
    found = [[_MARKS[each["severity"]], each["what"], each["todo"]] for each in machine["findings"]]
    last = text_table(("", "found", "what to do"), found) if found else "nothing is in the way"
    return "\n\n".join(["\n".join(head), *tables, last])
