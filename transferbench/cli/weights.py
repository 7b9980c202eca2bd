"""`tb weights`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from transferbench.cli.options import home_option, json_option
from transferbench.cli.terminal import print_json, print_table, progress

if TYPE_CHECKING:
    from transferbench.home import Home
    from transferbench.nets.header import ClassOrder

_FORMATS = ("caffe", "keras", "matconvnet", "pytorch-bgr", "torchvision", "state-dict", "run")
_INPUTS = ("rgb-mean", "bgr-mean", "torchvision")
_CLASS_ORDERS = ("wnid", "ilsvrc-id", "unknown")


@click.group()
def weights() -> None:
    """List, fetch, import, show and verify weights."""


@weights.command("list")
@home_option
@json_option
def list_weights(home: Path, as_json: bool) -> None:
    """List weights: published ones, whether here or not, imported ones, and those of own runs.

    Original are the weights that the authors of the paper released, in any of their published conversions. Retrained
    are others of the same nets: the paper's figures are no target for them.

    \b
    Example:
      tb weights list
    """
    from transferbench.home import Home
    from transferbench.pipeline.weights_store import listing

    rows = listing(Home.at(home))
    if as_json:
        names = ("name", "net", "kind", "source")
        print_json([{**{n: getattr(r, n) for n in names}, "path": str(r.path) if r.path else None} for r in rows])
        return
    table = [[r.name, r.net, r.kind, "yes" if r.path else "no", r.source] for r in rows]
    print_table(("weights", "net", "kind", "here", "source"), table, as_json=False)


@weights.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@home_option
@json_option
def fetch_weights(names: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Download published weights, check them and import them.

    A download that was broken off goes on where it stopped. Without a network the message says which file to fetch
    elsewhere, and where to put it.

    \b
    Example:
      tb weights fetch vgg16-caffe
    """
    from transferbench.home import Home
    from transferbench.pipeline.weights_fetch import fetch

    paths = {}
    for name in names:
        paths[name] = str(fetch(name, Home.at(home), progress=progress()))
        if not as_json:
            click.echo(paths[name])
    if as_json:
        print_json(paths)


@weights.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "kind", required=True, type=click.Choice(_FORMATS), help="How the file is laid out.")
@click.option("--name", metavar="NAME", help="What the weights are called from now on; otherwise as the file.")
@click.option("--net", metavar="NAME", help="Refuse the file unless it holds this net of Table 1.")
@click.option(
    "--input",
    "convention",
    type=click.Choice(_INPUTS),
    help="What the weights expect, where the format does not tell: RGB or BGR, 0-255, minus the mean; torchvision's.",
)
@click.option(
    "--class-order", type=click.Choice(_CLASS_ORDERS), help="Order of the outputs, where the format does not tell."
)
@home_option
@json_option
def import_weights(
    file: Path,
    kind: str,
    name: str | None,
    net: str | None,
    convention: str | None,
    class_order: "ClassOrder | None",
    home: Path,
    as_json: bool,
) -> None:
    """Import a weights file: convert it exactly, check it, and keep it under a name for --weights.

    The format is never guessed, since files of different channel orders have equal shapes: caffe (the authors'
    .caffemodel), keras (.h5), matconvnet (.mat), pytorch-bgr (jcjohnson's .pth, classifier.1), torchvision (its .pth,
    classifier.0), state-dict (any other VGG under the names of torchvision, timm or tb; needs --input), run (a file or
    a run of tb). Nothing in a foreign file is run. Where no weights are named, only a file with a published hash is
    taken; any other goes by its name.

    \b
    Example:
      tb weights import vgg16-397923af.pth --format torchvision
      tb weights import VGG_ILSVRC_16_layers.caffemodel --format caffe
      tb weights import mine.pth --format state-dict --input rgb-mean --name mine
    """
    from transferbench.home import Home
    from transferbench.pipeline.weights_import import import_weights as import_file

    path = import_file(
        file,
        kind,
        Home.at(home),
        name=name,
        net=net,
        convention=convention,
        class_order=class_order,
        progress=progress(),
    )
    if as_json:
        print_json({path.stem: str(path)})
    else:
        click.echo(path)


@weights.command("show")
@click.argument("name")
@home_option
@json_option
def show_weights(name: str, home: Path, as_json: bool) -> None:
    """Print what weights are: net, input, class order, origin, identity.

    NAME is that of published or imported weights, or a weights file of this program. Of published weights that are not
    here it prints where they are.

    \b
    Example:
      tb weights show vgg16-caffe
    """
    from dataclasses import asdict

    from transferbench.home import Home
    from transferbench.nets.header import read_header
    from transferbench.pipeline.weights_fetch import published
    from transferbench.pipeline.weights_store import is_only_published

    place = Home.at(home)
    if is_only_published(name, place):
        found = {"path": None, **published(name), "fetch": f"tb weights fetch {name}"}
        lists = {key: value if isinstance(value, list) else [value or "not here"] for key, value in found.items()}
        rows = [["" if n else key, value] for key, values in lists.items() for n, value in enumerate(values)]
        print_json(found) if as_json else print_table((name, ""), rows, as_json=False)
        return
    path = _find(name, place)
    header = read_header(path)
    if as_json:
        print_json({"path": str(path), **asdict(header)})
        return
    given = header.preprocessing
    rows = [
        ["file", path],
        ["net", f"{header.net}, {header.net.n_classes} classes, pooling rounds {_direction(header.net.pool_rounding)}"],
        ["what", header.label or "own training"],
        ["input", f"{given.channel_order}, 0 to {given.value_range:g}, {given.interpolation} rescaling"],
        ["mean", ", ".join(f"{value:g}" for value in given.mean)],
        ["deviation", ", ".join(f"{value:g}" for value in given.std)],
        ["class order", header.class_order],
        *([f"origin: {key.replace('_', ' ')}", value] for key, value in header.origin.items() if key != "training"),
        ["sha256", header.sha256],
        ["fingerprint", header.fingerprint or "none"],
    ]
    print_table((name, ""), rows, as_json=False)


@weights.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@home_option
@json_option
def verify_weights(names: tuple[str, ...], home: Path, as_json: bool) -> None:
    """Verify weights: header, tensors, and the descriptor of a test image, computed anew.

    Without a name all weights that are here are verified, and copies of the same original weights compared. Exits with
    1 if one is wrong.

    \b
    Example:
      tb weights verify
    """
    from transferbench.home import Home
    from transferbench.pipeline.weights_store import disagreeing_originals, listing, verify

    place = Home.at(home)
    paths = {name: _find(name, place) for name in names} or {
        row.name: row.path for row in listing(place) if row.path is not None
    }
    found = {name: verify(path) for name, path in paths.items()}
    rows = [[name, "ok" if problem is None else problem] for name, problem in found.items()]
    print_table(("weights", "verdict"), rows if as_json else [r for r in rows if r[1] == "ok"], as_json=as_json)
    problems = [problem for problem in found.values() if problem is not None]
    problems += [] if names else disagreeing_originals(place)
    if problems:
        raise click.ClickException("\n".join(problems))


def _find(name: str, home: "Home") -> Path:
    from transferbench.pipeline.weights_store import find

    path = Path(name).expanduser()
    return path if path.suffix == ".safetensors" or "/" in name else find(name, home)


def _direction(rounding: str) -> str:
    return {"ceil": "up", "floor": "down"}[rounding]
