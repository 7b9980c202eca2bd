"""The header of a weights file: what the weights are, read without torch and without reading a tensor."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from transferbench.errors import WeightsError
from transferbench.types import NetSpec, Preprocessing

FORMAT = "transferbench.weights"
FORMAT_VERSION = 1
METADATA_KEY = "transferbench"


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
    """

    net: NetSpec
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    origin: dict[str, Any]
    sha256: str

    def to_json(self) -> str:
        """Serialise the header.

        Returns
        -------
        str
            What stands in the safetensors metadata.
        """
        return json.dumps({"format": FORMAT, "version": FORMAT_VERSION, **asdict(self)}, sort_keys=True)

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
                msg = f"{where}: has no {FORMAT} header, so its net and preprocessing are unknown"
                raise WeightsError(msg)
            if (version := header.pop("version")) != FORMAT_VERSION:
                msg = (
                    f"{where}: is of format version {version}; this program reads version "
                    f"{FORMAT_VERSION}. Update transferbench."
                )
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
        msg = f"there is no weights file at {path}"
        raise WeightsError(msg)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as problem:
        msg = f"{path}: cannot be read as safetensors: {problem}. Make or fetch the file again."
        raise WeightsError(msg) from problem
    return WeightsHeader.from_json(metadata.get(METADATA_KEY, "null"), str(path))
