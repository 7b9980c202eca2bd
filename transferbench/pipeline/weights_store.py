"""The weights in the work folder: found by name, listed, verified, compared (`tb weights list`, `verify`)."""

from dataclasses import dataclass
from pathlib import Path

from transferbench.errors import UnknownNameError, WeightsError
from transferbench.home import Home
from transferbench.lookup import NET_SOURCES, unknown
from transferbench.nets.header import WeightsHeader, read_header
from transferbench.nets.known import KNOWN
from transferbench.pipeline.runs import finished_weights


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
    if Path(name).is_file():
        msg = f"{name}: is no weights file of ours.\n  Import it: tb weights import {name} --format FORMAT --net NET"
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
    few = f", a TRIAL with up to {header.origin['limit']} images of every class" if header.is_trial else ""
    return f"{header.net}, {header.label or 'own training'}{few}, {header.sha256[:8]}{warning}"


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
