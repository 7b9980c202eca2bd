"""Which weights a recipe or an option means, found by their headers.

Needs torch only to draw random ones for the first time.
"""

import glob
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transferbench.errors import WeightsError
from transferbench.files import publish
from transferbench.home import Home
from transferbench.nets.header import WeightsHeader, read_header
from transferbench.nets.known import KNOWN, RETRAINED
from transferbench.pipeline.runs import finished_weights, runs_of
from transferbench.pipeline.weights_store import file_name, find, stored
from transferbench.recipe.files import load
from transferbench.recipe.names import TABLE_1
from transferbench.recipe.nets import BEST, DefaultWeights, FileWeights, NamedWeights, RandomWeights, RunWeights
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.types.identity import sha256_of
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

if TYPE_CHECKING:
    from transferbench.nets.weights import Weights

_OTHER_RUNS = 3
Choice = RunWeights | NamedWeights | FileWeights | RandomWeights | DefaultWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenWeights:
    """Weights that exist, known by their header.

    Parameters
    ----------
    header : WeightsHeader
        What they are.
    path : Path or None
        Their file; None for random weights, which are drawn again from their seed.
    """

    header: WeightsHeader
    path: Path | None

    def load(self) -> "Weights":
        """Read or draw the tensors.

        Returns
        -------
        Weights
            Checked against the header.

        Raises
        ------
        WeightsError
            If the tensors are not those of the header.
        """
        from transferbench.nets.weights import load_weights, random_weights

        if self.path is not None:
            return load_weights(self.path)
        weights = random_weights(self.header.net, self.header.preprocessing, seed=self.header.origin["seed"])
        if weights.header.sha256 != self.header.sha256:
            msg = (
                "this version of torch draws other random weights than the one that filled the cache; "
                "delete the folder weights/random in TB_HOME"
            )
            raise WeightsError(msg)
        return weights


def weights_choice(text: str) -> Choice:
    """Read ``--weights``.

    Parameters
    ----------
    text : str
        ``default``, ``run:RECIPE``, ``run:FOLDER`` (a folder in ``runs``; with ``@best`` the weights after its best
        epoch instead of the last), ``random``, ``random:SEED``, a name (`tb weights list`), or the path of a weights
        file: anything with a slash or ending in ``.safetensors``.

    Returns
    -------
    RunWeights, NamedWeights, FileWeights, RandomWeights or DefaultWeights
        What is meant; whether it is there is seen by `choose`.

    Raises
    ------
    WeightsError
        If a seed is no whole number.
    """
    kind, _, rest = text.partition(":")
    if text == "default":
        return DefaultWeights(kind="default")
    if kind == "run" and rest:
        return RunWeights(kind="run", recipe=rest)
    if kind == "random":
        if rest and not rest.isdecimal():
            msg = f"--weights {text}: the seed must be a whole number, as in random:1"
            raise WeightsError(msg)
        return RandomWeights(kind="random", seed=int(rest or 0))
    if "/" in text or text.endswith(".safetensors"):
        return FileWeights(kind="file", path=text)
    return NamedWeights(kind="named", name=text)


def choose(
    choice: Choice, home: Home, *, net: str, width: float | None = None, crop: int | None = None
) -> ChosenWeights:
    """Find the weights that are meant.

    Parameters
    ----------
    choice : RunWeights, NamedWeights, FileWeights, RandomWeights or DefaultWeights
        As the recipe or the option says.
    home : Home
        The work folder.
    net : str
        The net they must belong to.
    width : float, optional
        Its width; any when not given.
    crop : int, optional
        Its crop; any when not given.

    Returns
    -------
    ChosenWeights
        Of that net.

    Raises
    ------
    WeightsError
        If they are not there (the message lists commands that would make them) or belong to another net.
    """
    match choice:
        case RunWeights():
            found = _of_run(choice.recipe, home)
        case NamedWeights():
            path = find(choice.name, home)
            found = ChosenWeights(header=read_header(path), path=path)
        case FileWeights():
            path = Path(choice.path).expanduser()
            found = ChosenWeights(header=read_header(path), path=path)
        case RandomWeights():
            return draw(NetSpec(name=net, width=width or 1.0, crop=crop or 224), Preprocessing(), choice.seed, home)
        case DefaultWeights():
            found = _default(net, width, crop, home)
    if not _fits(found.header.net, net, width, crop):
        msg = f"{found.path}: holds {found.header.net}; {_wanted(net, width, crop)} is asked for"
        raise WeightsError(msg)
    return found


def draw(spec: NetSpec, preprocessing: Preprocessing, seed: int, home: Home) -> ChosenWeights:
    """Choose random weights.

    Parameters
    ----------
    spec : NetSpec
        The net.
    preprocessing : Preprocessing
        That of the trained weights they stand beside.
    seed : int
        Of the initialisation.
    home : Home
        Keeps the header, so that the hash is computed once.

    Returns
    -------
    ChosenWeights
        The same tensors for the same arguments.
    """
    if (known := drawn_before(spec, preprocessing, seed, home)) is not None:
        return known
    from transferbench.nets.weights import random_weights

    header = random_weights(spec, preprocessing, seed=seed).header
    publish(_drawn_header(spec, preprocessing, seed, home), header.to_json().encode())
    return ChosenWeights(header=header, path=None)


def drawn_before(spec: NetSpec, preprocessing: Preprocessing, seed: int, home: Home) -> ChosenWeights | None:
    """Look for random weights that were drawn before.

    Parameters
    ----------
    spec, preprocessing, seed, home
        As for `draw`.

    Returns
    -------
    ChosenWeights or None
        None if their header is not kept.
    """
    path = _drawn_header(spec, preprocessing, seed, home)
    if not path.is_file():
        return None
    return ChosenWeights(header=WeightsHeader.from_json(path.read_text(encoding="utf-8"), str(path)), path=None)


def _drawn_header(spec: NetSpec, preprocessing: Preprocessing, seed: int, home: Home) -> Path:
    key = sha256_of({"net": asdict(spec), "preprocessing": asdict(preprocessing), "seed": seed})
    return home.weights / "random" / f"{file_name(spec.name)}-{key[:16]}.json"


def _of_run(name: str, home: Home) -> ChosenWeights:
    name, best = name.removesuffix(BEST), name.endswith(BEST)
    stem = Path(name).stem if "/" in name or name.endswith((".yaml", ".yml")) else name
    found = runs_of(home, stem)
    if [run.folder.name for run in found] != [stem]:  # a recipe: only runs of what it says now count
        if RunWeights(kind="run", recipe=Path(name).name).trained_by is None:
            state = (
                "is not finished: go on with it by its tb pretrain" if (home.runs / stem).is_dir() else "is not there"
            )
            msg = f"the run {stem} {state}.\n  All runs: tb runs list, in {home.runs}"
            raise WeightsError(msg)
        recipe = load(name, PretrainRecipe)
        found = [run for run in found if run.is_of(recipe)]
        if not found:
            raise WeightsError(_no_run(name, stem, home, BEST if best else ""))
    path = found[0].best_weights if best else found[0].weights
    if not path.is_file():
        msg = f"{found[0].folder.name} did not keep its best weights; the last are --weights run:{name}"
        raise WeightsError(msg)
    return ChosenWeights(header=read_header(path), path=path)


def _no_run(name: str, stem: str, home: Home, which: str) -> str:
    """Say whether a recipe's pretraining is begun, and which runs of it with other settings could be meant."""
    others = runs_of(home, stem)
    started = any(home.runs.glob(f"{glob.escape(stem)}-????????"))
    state = "has not been started" if not started else "is not finished"
    return "\n".join(
        [
            f"the pretraining {name} {f'is finished only with other settings than {name} has' if others else state}.",
            *(f"  Take that one: --weights run:{run.folder.name}{which}" for run in others[:_OTHER_RUNS]),
            *(["  All of them: tb runs list"] if len(others) > _OTHER_RUNS else []),
            f"  {'Or train it as the recipe says' if others else 'Run'}: tb pretrain --recipe {name}",
        ]
    )


def _default(net: str, width: float | None, crop: int | None, home: Home) -> ChosenWeights:
    """Take the authors' own weights, else torchvision's of that net, else those of the newest own run."""
    here = [ChosenWeights(header=read_header(path), path=path) for path in stored(home).values()]
    fitting = [chosen for chosen in here if _fits(chosen.header.net, net, width, crop)]
    originals = [chosen for chosen in fitting if chosen.header.origin.get("original") is True]
    retrained = [chosen for chosen in fitting if chosen.header.origin.get("original") is False]
    others = fitting if net not in TABLE_1 else []
    for chosen in (*originals, *retrained, *others):
        return chosen
    for path in finished_weights(home):
        header = read_header(path)
        if _fits(header.net, net, width, crop) and not header.is_trial:
            return ChosenWeights(header=header, path=path)
    raise WeightsError(_ways_to_get_some(net, width, crop, home))


def _ways_to_get_some(net: str, width: float | None, crop: int | None, home: Home) -> str:
    """Say that there are no weights to take without being named, and every command that gets or names some."""
    if net not in TABLE_1:
        return (
            f"there are no weights of {net} in {home.root}.\n  Fetch them: tb weights fetch {net}\n"
            "  Or measure a floor: --weights random"
        )
    # Of each kind the first copy that is listed.
    fetchable = {known.label: name for name, known in reversed(KNOWN.items()) if known.net == net}
    titles = {name: f"net {net}, {label}" if label == RETRAINED else label for label, name in fetchable.items()}
    paper_sized = {width, crop} <= {None, 1.0, 224}
    # What is recognised by its hash would have been taken.
    nameless = [name for name, path in stored(home).items() if _fits(read_header(path).net, net, width, crop)]
    runs = [(path.parent.name, read_header(path)) for path in finished_weights(home)]
    trials = [name for name, header in runs if _fits(header.net, net, width, crop) and header.is_trial]
    lines = [
        f"there are no weights of {_wanted(net, width, crop)} in {home.root}"
        + (" that are taken without being named." if nameless or trials else "."),
        *(f"  {name} is a trial on a few images (--limit). Take it by name: --weights run:{name}" for name in trials),
        *(
            f"  {name} is here, but not one of the published files. Take it by name: --weights {name}; "
            f"tb sweep RECIPE --set weights={name}; in a recipe weights: {{kind: named, name: {name}}}"
            for name in nameless
        ),
        *(f"  Fetch {title}: tb weights fetch {name}" for name, title in reversed(titles.items()) if paper_sized),
        f"  Train some: tb pretrain --net {net}",
        "  Or import a file: tb weights import FILE --format FORMAT",
        "  Or measure a floor: --weights random",
    ]
    return "\n".join(lines)


def _fits(spec: NetSpec, net: str, width: float | None, crop: int | None) -> bool:
    if net not in TABLE_1:  # it comes in one size
        return spec.name == net
    return spec.name == net and width in {None, spec.width} and crop in {None, spec.crop}


def _wanted(net: str, width: float | None, crop: int | None) -> str:
    return (
        f"net {net}"
        if (width is None and crop is None) or net not in TABLE_1
        else str(NetSpec(name=net, width=width or 1.0, crop=crop or 224))
    )
