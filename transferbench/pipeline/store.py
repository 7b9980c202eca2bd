"""`tb weights`: the weights in the work folder. Published ones are fetched and imported, all are verified."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transferbench.download import Expected, download
from transferbench.errors import DownloadError, TransferbenchError, UnknownNameError, WeightsError
from transferbench.files import sha256_file
from transferbench.home import Home
from transferbench.lookup import NET_SOURCES, is_net, lookup, unknown
from transferbench.nets.header import ClassOrder, WeightsHeader, read_header
from transferbench.nets.known import KNOWN, KnownWeights
from transferbench.pipeline.runs import finished_weights
from transferbench.progress import Progress
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

OWN_FORMAT = "run"
"""Weights files of this program; every other format is a key of `transferbench.nets.importers.FORMATS`."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of ``tb weights list``.

    Parameters
    ----------
    name : str
        By which ``--weights`` takes it; of a run its file.
    net : str
        Column of Table 1, or another backbone.
    kind : str
        ``original``, ``retrained``, ``own run`` or ``imported``.
    source : str
        Who published it, or which file it came from.
    path : Path or None
        None when it is not here.
    """

    name: str
    net: str
    kind: str
    source: str
    path: Path | None


def stored(home: Home) -> dict[str, Path]:
    """Find the weights that were fetched or imported.

    Parameters
    ----------
    home : Home
        The work folder.

    Returns
    -------
    dict of str to Path
        Name to file, sorted.
    """
    return {path.stem: path for path in sorted(home.weights.glob("*.safetensors"))}


def file_name(name: str) -> str:
    """Turn a name into that of a file.

    Parameters
    ----------
    name : str
        For instance ``timm:resnet50``.

    Returns
    -------
    str
        ``timm-resnet50``.
    """
    return name.replace(":", "-")


def find(name: str, home: Home) -> Path:
    """Find weights by their name.

    Parameters
    ----------
    name : str
        Of a published file, or as it was imported.
    home : Home
        The work folder.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    WeightsError
        If they are published but not here; with the command that fetches them.
    UnknownNameError
        If nothing has that name.
    """
    here = stored(home)
    if (file := file_name(name)) in here:
        return here[file]
    if name.startswith(NET_SOURCES):
        msg = f"the weights of {name} are not in {home.weights}.\n  Run: tb weights fetch {name}"
        raise WeightsError(msg)
    if name in KNOWN:
        msg = f"the weights {name} ({KNOWN[name].label}) are not in {home.weights}.\n  Run: tb weights fetch {name}"
        raise WeightsError(msg)
    raise UnknownNameError(unknown("weights", name, {*KNOWN, *here}))


def is_only_published(name: str, home: Home) -> bool:
    """Tell whether a name is that of published weights that are not here.

    Parameters
    ----------
    name : str
        As the user wrote it.
    home : Home
        The work folder.

    Returns
    -------
    bool
        False for imported weights and for unknown names too.
    """
    return name in KNOWN and name not in stored(home)


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
        "expected": str(_expected(known)),
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
    download(
        known.urls,
        file,
        sha256=known.sha256,
        sha384=known.sha384,
        md5=known.md5,
        size=known.size,
        progress=progress,
    )
    path = import_weights(file, known.format, home, name=name, net=known.net, progress=progress)
    if not was_there:  # a file that somebody put there by hand stays
        file.unlink(missing_ok=True)
    return path


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
            f"{file}: is not the published file {chosen} ({_expected(KNOWN[chosen])}); give it another --name, or "
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


def describe(header: WeightsHeader) -> str:
    """Say in a few words what weights are.

    Parameters
    ----------
    header : WeightsHeader
        Of the weights.

    Returns
    -------
    str
        Net, label, identity; and what the label means for a comparison with the paper.
    """
    from transferbench.nets.known import RETRAINED

    warning = "; the paper's figures are no target for them" if header.label == RETRAINED else ""
    return f"{header.net}, {header.label or 'own training'}, {header.sha256[:8]}{warning}"


def verify(path: Path) -> str | None:
    """Check a weights file: its header, its tensors, and the descriptor of the test image.

    Parameters
    ----------
    path : Path
        A file of ours.

    Returns
    -------
    str or None
        What is wrong; None if all is well.
    """
    from transferbench.nets.fingerprint import fingerprint
    from transferbench.nets.weights import load_weights

    try:
        weights = load_weights(path)
    except WeightsError as problem:
        return str(problem)
    if not weights.header.fingerprint:
        return f"{path}: has no fingerprint; import or train it again"
    if (found := fingerprint(weights)) != weights.header.fingerprint:
        return (
            f"{path}: describes the test image as {found[:16]}, but as {weights.header.fingerprint[:16]} when it was "
            "made: preprocessing or layers of the program have changed. Please report this."
        )
    return None


def disagreeing_originals(home: Home) -> list[str]:
    """Compare the copies of the authors' weights that are here: of one net all must be the same.

    Parameters
    ----------
    home : Home
        The work folder.

    Returns
    -------
    list of str
        A line for every net whose copies differ.
    """
    by_net: dict[str, dict[str, list[str]]] = {}
    for name, path in stored(home).items():
        header = read_header(path)
        if header.origin.get("original"):
            by_net.setdefault(header.net.name, {}).setdefault(header.fingerprint, []).append(name)
    return [
        f"the copies of {net}'s original weights differ: {' | '.join(', '.join(names) for names in groups.values())}"
        for net, groups in by_net.items()
        if len(groups) > 1
    ]


def listing(home: Home) -> list[Listed]:
    """List published weights, whether here or not, then those imported by hand, then those of own runs.

    Parameters
    ----------
    home : Home
        The work folder.

    Returns
    -------
    list of Listed
        Originals first.
    """
    here = stored(home)
    rows = [
        Listed(
            name=name,
            net=known.net,
            kind="original" if known.original else "retrained",
            source=known.source,
            path=here.get(name),
        )
        for name, known in KNOWN.items()
    ]
    for name, path in here.items():
        if name not in KNOWN:
            header = read_header(path)
            source = header.origin.get("library") or (
                f"{header.origin.get('format', 'run')} file {header.origin.get('file', path.name)}"
            )
            rows.append(Listed(name=name, net=header.net.name, kind="imported", source=source, path=path))
    for path in finished_weights(home):
        header = read_header(path)
        source = f"tb pretrain, recipe {header.origin['recipe']}"
        rows.append(Listed(name=str(path), net=header.net.name, kind="own run", source=source, path=path))
    return rows


def _fetch_backbone(name: str, home: Home, progress: Progress) -> Path:
    """Let the library that makes a net fetch its weights; from then on they are a file of ours like any other."""
    from transferbench.nets.backbones import open_backbone
    from transferbench.nets.importing import stamped
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


def _expected(known: KnownWeights) -> Expected:
    return Expected(sha256=known.sha256, sha384=known.sha384, md5=known.md5, size=known.size)


def _recognise(file: Path, kind: str) -> str | None:
    """Find the published file that a file is, by its hash."""
    for name, known in KNOWN.items():
        if known.format == kind and _expected(known).problem(file) is None:
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

    path = file / "weights.safetensors" if file.is_dir() else file
    if file.is_dir() and not path.is_file():
        msg = (
            f"{file}: has no weights.safetensors, so this run is not finished. Go on with it by tb pretrain, or import "
            "one of its checkpoint-*.pt"
        )
        raise WeightsError(msg)
    weights = _of_checkpoint(path) if path.suffix == ".pt" else load_weights(path)
    if net not in {None, weights.header.net.name}:
        msg = f"{path}: holds {weights.header.net}, not net {net}"
        raise WeightsError(msg)
    return weights


def _of_checkpoint(path: Path) -> Any:
    """Take the weights out of a pretraining that is still going on."""
    from transferbench.nets.importing import stamped
    from transferbench.nets.modules import VGG
    from transferbench.nets.weights import from_net
    from transferbench.training.checkpoint import read_checkpoint

    state = read_checkpoint(path)
    try:
        if state is None:
            msg = "its hash is wrong"
            raise ValueError(msg)
        about, history = state["about"], state["history"]
        net = VGG(NetSpec(**about["net"]))
        average = {key.removeprefix("module."): tensor for key, tensor in (state["average"] or {}).items()}
        tensors = average or state["net"]  # a moving average is what such a run would keep
        net.load_state_dict({key.removeprefix("net."): t for key, t in tensors.items() if key.startswith("net.")})
        preprocessing = Preprocessing.from_dict(about["preprocessing"])
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as problem:
        msg = f"{path}: is damaged or no checkpoint of tb pretrain: {problem}"
        raise WeightsError(msg) from problem
    origin = {**about["origin"], "epoch": len(history), "step": state["position"]["step"]}
    origin |= {"held_out_accuracy": history[-1]["accuracy"]} if history else {}
    return stamped(from_net(net, preprocessing, tuple(about["classes"]), origin))
