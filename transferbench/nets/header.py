"""The header of a weights file: what the weights are, read without torch and without reading a tensor."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors import SafetensorError, safe_open

from transferbench.errors import WeightsError
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

FORMAT = "transferbench.weights"
FORMAT_VERSION = 1
METADATA_KEY = "transferbench"

ClassOrder = Literal["wnid", "ilsvrc-id", "own", "unknown"]
"""Sorted WordNet ids (first n01440764), ILSVRC2012 ids (first n02119789), the names in `classes`, or not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsHeader:
    """All about some weights but their values.

    Parameters
    ----------
    net : NetSpec
        The net they belong to.
    preprocessing : Preprocessing
        What they expect as input.
    classes : tuple of str
        In the order of fc8's outputs.
    origin : dict
        JSON values: where they come from and how they were made.
    sha256 : str
        Identity of the tensors.
    class_order : {"wnid", "ilsvrc-id", "own", "unknown"}
        What `classes` are.
    label : str
        For people: ``the paper's net D``, ``retrained, not the paper's``; empty for our own runs.
    layer, positions : str
        Which activations, and how they become one vector; empty for the nets of Table 1, where the recipe says it.
    fingerprint : str
        Of a descriptor by these weights, as `transferbench.nets.fingerprint` computes it; empty if never computed.
    """

    net: NetSpec
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    origin: dict[str, Any]
    sha256: str
    class_order: ClassOrder = "own"
    label: str = ""
    layer: str = ""
    positions: str = ""
    fingerprint: str = ""

    @property
    def is_trial(self) -> bool:
        """Whether they were trained on a few images (``--limit``)."""
        return self.origin.get("limit") is not None

    def to_json(self) -> str:
        """Serialise the header.

        Returns
        -------
        str
            What stands in the safetensors metadata.
        """
        # The tensors have their hash; this one finds a changed label or preprocessing.
        content = {"format": FORMAT, "version": FORMAT_VERSION, **asdict(self)}
        return json.dumps({**content, "header_sha256": _own_sha256(content)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str) -> "WeightsHeader":
        """Read a header.

        Parameters
        ----------
        text : str
            As `to_json` wrote it.
        where : str
            The file, for messages.

        Returns
        -------
        WeightsHeader
            Checked for format and version.

        Raises
        ------
        WeightsError
            If it is of another format or damaged.
        """
        try:
            header = json.loads(text)
            if not isinstance(header, dict) or header.pop("format", None) != FORMAT:
                msg = (
                    f"{where}: has no {FORMAT} header, so its net and preprocessing are unknown. Import it: "
                    "tb weights import"
                )
                raise WeightsError(msg)
            if (version := header.pop("version")) != FORMAT_VERSION:
                msg = (
                    f"{where}: is of format version {version}; this program reads version "
                    f"{FORMAT_VERSION}. Update transferbench."
                )
                raise WeightsError(msg)
            if header.pop("header_sha256") != _own_sha256({"format": FORMAT, "version": version, **header}):
                msg = f"{where}: the header is damaged: it has changed since it was written. Make the file again."
                raise WeightsError(msg)
            if header.get("class_order", "own") not in get_args(ClassOrder):
                msg = f"{where}: class order {header['class_order']!r} is none of {', '.join(get_args(ClassOrder))}"
                raise WeightsError(msg)
            return cls(
                net=NetSpec(**header.pop("net")),
                preprocessing=Preprocessing.from_dict(header.pop("preprocessing")),
                classes=tuple(header.pop("classes")),
                **header,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            msg = f"{where}: the header is damaged: {problem}"
            raise WeightsError(msg) from problem


def _own_sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_header(path: Path) -> WeightsHeader:
    """Read the header of a weights file.

    Parameters
    ----------
    path : Path
        A file written by ``save_weights``.

    Returns
    -------
    WeightsHeader
        The tensors are neither read nor checked.

    Raises
    ------
    WeightsError
        If the file is missing, no safetensors file, or has no header of ours.
    """
    if not path.is_file():
        msg = f"there is no weights file at {path}; those that are here: tb weights list"
        raise WeightsError(msg)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as problem:
        msg = f"{path}: cannot be read as safetensors: {problem}. Make or fetch the file again."
        raise WeightsError(msg) from problem
    return WeightsHeader.from_json(metadata.get(METADATA_KEY, "null"), str(path))
