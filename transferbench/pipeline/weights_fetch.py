"""Weights from the network (`tb weights fetch`): published files, and what other libraries fetch themselves."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transferbench.download import download
from transferbench.errors import DownloadError, TransferbenchError
from transferbench.home import Home
from transferbench.lookup import is_net, lookup
from transferbench.nets.known import KNOWN
from transferbench.pipeline.weights_import import import_weights
from transferbench.pipeline.weights_store import file_name, stored
from transferbench.progress import Progress


def published(name: str) -> dict[str, Any]:
    """Say where published weights are.

    Parameters
    ----------
    name : str
        Key of `KNOWN`.

    Returns
    -------
    dict
        JSON values: net, what they are, file, addresses, what is known of the file.

    Raises
    ------
    UnknownNameError
        If no published file has that name.
    """
    known = lookup("published weights", name, KNOWN)
    return {
        "net": known.net,
        "what": known.label,
        "source": known.source,
        "format": known.format,
        "file": known.file,
        "addresses": list(known.urls),
        "expected": str(known.expected),
    }


def fetch(name: str, home: Home, *, progress: Progress) -> Path:
    """Download published weights and import them, unless they are here.

    Parameters
    ----------
    name : str
        Key of `KNOWN`, or the name of another net: ``timm:resnet50``, ``torchvision:vgg16_bn``, a plugin's.
    home : Home
        The work folder.
    progress : Progress
        Told how far the download is.

    Returns
    -------
    Path
        A weights file of ours.

    Raises
    ------
    DownloadError
        If no address gives the file; the message says what to fetch by hand, and where to put it.
    WeightsError
        If the file is not the net it should be.
    UnknownNameError
        If no published file has that name.
    """
    if (here := stored(home).get(file_name(name))) is not None:
        progress.say(f"reused: {here}")
        return here
    if name not in KNOWN and is_net(name, ()):
        return _fetch_backbone(name, home, progress)
    known = lookup("published weights", name, KNOWN)
    file = home.weights / "downloads" / known.file
    was_there = file.exists()
    download(known.urls, file, known.expected, progress=progress)
    path = import_weights(file, known.format, home, name=name, net=known.net, progress=progress)
    if not was_there:  # a file that somebody put there by hand stays
        file.unlink(missing_ok=True)
    return path


def _fetch_backbone(name: str, home: Home, progress: Progress) -> Path:
    """Let the library that makes a net fetch its weights; from then on they are a file of ours like any other."""
    from transferbench.nets.importing import stamped
    from transferbench.nets.opening import open_backbone
    from transferbench.nets.weights import from_backbone, save_weights

    path = home.weights / f"{file_name(name)}.safetensors"
    try:
        backbone = open_backbone(name, pretrained=True)
    except TransferbenchError:
        raise
    except Exception as problem:  # whatever the library's own downloader raises
        reason = (str(problem) or type(problem).__name__).splitlines()[0][:300]
        msg = (
            f"the weights of {name} cannot be had: {reason}\n"
            f"  Without a network: run this command where there is one, and copy what it writes to {path}"
        )
        raise DownloadError(msg) from problem
    origin = {"kind": "backbone", "library": _library(name), "fetched": datetime.now(UTC).isoformat(timespec="seconds")}
    save_weights(path, stamped(from_backbone(name, backbone, origin, f"published weights of {name}")))
    progress.say(f"wrote {path}")
    return path


def _library(name: str) -> str:
    """Name the library that makes a net, with its version."""
    source, colon, _ = name.partition(":")
    return f"{source} {version(source)}" if colon else f"plugin {name}"
