"""How two blocks differ, and so why one was not reused for the other."""

import json
from collections.abc import Iterator
from typing import Any

from transferbench.cache.manifest import read_manifest
from transferbench.cache.store import StoredBlock, spec_of
from transferbench.types.descriptors import DescriptorSpec


def differences(a: DescriptorSpec, b: DescriptorSpec) -> list[tuple[str, str, str]]:
    """Compare two specs field by field.

    Parameters
    ----------
    a, b : DescriptorSpec
        Of two blocks.

    Returns
    -------
    list of tuple of str
        Field, value in `a`, value in `b`, for every field that differs.
    """
    left, right = dict(_flat(a.to_dict())), dict(_flat(b.to_dict()))
    return [(name, left[name], right[name]) for name in left if left[name] != right[name]]


def block_differences(a: StoredBlock, b: StoredBlock) -> list[tuple[str, str, str]]:
    """Compare two blocks by their specs and by the images that they skip.

    Parameters
    ----------
    a, b : StoredBlock
        As listed.

    Returns
    -------
    list of tuple of str
        Field, value in `a`, value in `b`, for everything that differs.

    Raises
    ------
    CacheError
        If nothing readable tells what made one of them.
    """
    found = differences(spec_of(a), spec_of(b))
    left, right = (", ".join(sorted(_skipped(block))) or "none" for block in (a, b))
    return found if left == right else [*found, ("skipped images", left, right)]


def _skipped(block: StoredBlock) -> dict[str, str]:
    skipped: dict[str, str] = read_manifest(block.folder).get("skipped", {}) if block.state == "complete" else {}
    return skipped


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(inner)
