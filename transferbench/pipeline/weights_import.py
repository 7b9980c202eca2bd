"""Weights from anybody's file (`tb weights import`): recognised by hash, read, named, written as a file of ours."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transferbench.errors import WeightsError
from transferbench.files import sha256_file
from transferbench.home import Home
from transferbench.nets.header import ClassOrder, read_header
from transferbench.nets.known import KNOWN
from transferbench.pipeline.weights_store import describe
from transferbench.progress import Progress

OWN_FORMAT = "run"
"""Weights files of this program; every other format is a key of `transferbench.nets.importers.FORMATS`."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def import_weights(
    file: Path,
    kind: str,
    home: Home,
    *,
    name: str | None = None,
    net: str | None = None,
    convention: str | None = None,
    class_order: ClassOrder | None = None,
    progress: Progress,
) -> Path:
    """Import a weights file into the work folder.

    Parameters
    ----------
    file : Path
        Anybody's.
    kind : str
        Its format: a key of `FORMATS`, or ``run`` for a file of this program.
    home : Home
        The work folder.
    name : str, optional
        What it is called from now on; otherwise the published name, or that of the file.
    net : str, optional
        The column of Table 1 that it must hold.
    convention : str, optional
        What input it expects, where the format does not tell.
    class_order : str, optional
        Instead of the format's.
    progress : Progress
        Told what was found.

    Returns
    -------
    Path
        A weights file of ours; nothing is written if anything is wrong.

    Raises
    ------
    WeightsError
        If the file is damaged or another net, or the name is taken.
    """
    from transferbench.nets.weights import save_weights

    if not file.exists():
        msg = f"{file}: there is no such file"
        raise WeightsError(msg)
    recognised = _recognise(file, kind)
    chosen = name or recognised or file.stem
    if not _NAME.fullmatch(chosen):
        msg = f"{chosen!r} cannot be a name of weights; give --name with letters, digits, '.', '-' and '_'"
        raise WeightsError(msg)
    if chosen in KNOWN and chosen != recognised:
        msg = (
            f"{file}: is not the published file {chosen} ({KNOWN[chosen].expected}); give it another --name, or "
            f"fetch the right one: tb weights fetch {chosen}"
        )
        raise WeightsError(msg)
    weights = _read(file, kind, recognised, net=net, convention=convention, class_order=class_order)
    path = home.weights / f"{chosen}.safetensors"
    if path.exists() and read_header(path).sha256 != weights.header.sha256:
        msg = f"{path} holds other weights; give --name, or delete that file"
        raise WeightsError(msg)
    save_weights(path, weights)
    progress.say(f"wrote {path}: {describe(weights.header)}")
    return path


def _recognise(file: Path, kind: str) -> str | None:
    """Find the published file that a file is, by its hash."""
    for name, known in KNOWN.items():
        if known.format == kind and known.expected.problem(file) is None:
            return name
    return None


def _read(
    file: Path, kind: str, recognised: str | None, *, net: str | None, convention: str | None, class_order: Any
) -> Any:
    from transferbench.nets.importing import import_file

    if kind == OWN_FORMAT:
        return _own(file, net)
    origin: dict[str, Any] = {
        "file": file.name,
        "file_sha256": sha256_file(file),
        "file_bytes": file.stat().st_size,
        "imported": datetime.now(UTC).isoformat(timespec="seconds"),
        "original": None,
    }
    label = f"of unknown origin, in {kind} layout"
    if recognised is not None:
        known = KNOWN[recognised]
        label = known.label
        origin |= {"original": known.original, "published": recognised, "source": known.source, "url": known.urls[0]}
    return import_file(file, kind, net=net, convention=convention, class_order=class_order, label=label, origin=origin)


def _own(file: Path, net: str | None) -> Any:
    """Load a file of this program: of a run, or given by somebody who has one."""
    from transferbench.nets.weights import load_weights
    from transferbench.pipeline.checkpointed import weights_of_checkpoint

    path = file / "weights.safetensors" if file.is_dir() else file
    if file.is_dir() and not path.is_file():
        msg = (
            f"{file}: has no weights.safetensors, so this run is not finished. Go on with it by tb pretrain, or import "
            "one of its checkpoint-*.pt"
        )
        raise WeightsError(msg)
    weights = weights_of_checkpoint(path) if path.suffix == ".pt" else load_weights(path)
    if net not in {None, weights.header.net.name}:
        msg = f"{path}: holds {weights.header.net}, not net {net}"
        raise WeightsError(msg)
    return weights
