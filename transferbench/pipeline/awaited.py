"""Weights that are not there yet, so that a plan can count with them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transferbench.errors import WeightsError
from transferbench.home import Home
from transferbench.nets.header import WeightsHeader
from transferbench.pipeline.weights import Choice, ChosenWeights, choose, drawn_before
from transferbench.recipe.names import TABLE_1
from transferbench.recipe.nets import RandomWeights
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

if TYPE_CHECKING:
    from transferbench.nets.weights import Weights

_UNKNOWN = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitedWeights(ChosenWeights):
    """Weights of which only the net is known. Random ones stand for them where time is measured.

    Parameters
    ----------
    missing : str
        What is not there, and the commands that would get it; empty for random weights, which need none.
    """

    missing: str

    def load(self) -> "Weights":
        """Draw random weights of the net; see `ChosenWeights.load`."""
        from transferbench.nets.weights import random_weights

        return random_weights(self.header.net, self.header.preprocessing, seed=0)


def choose_or_await(
    choice: Choice, home: Home, *, net: str, width: float | None = None, crop: int | None = None
) -> ChosenWeights:
    """Find the weights that are meant, or count on them.

    Parameters
    ----------
    choice : RunWeights, NamedWeights, FileWeights, RandomWeights or DefaultWeights
        As the recipe or the option says.
    home : Home
        The work folder.
    net : str
        The net they must belong to.
    width : float, optional
        Its width.
    crop : int, optional
        Its crop.

    Returns
    -------
    ChosenWeights
        Those that are there, else `AwaitedWeights`. Nothing is drawn.

    Raises
    ------
    WeightsError
        If they are not there and the net is not of Table 1, so that nothing is known of it.
    """
    spec = NetSpec(name=net, width=width or 1.0, crop=crop or 224)
    if isinstance(choice, RandomWeights) and net in TABLE_1:
        return random_or_await(spec, Preprocessing(), choice.seed, home)
    try:
        return choose(choice, home, net=net, width=width, crop=crop)
    except WeightsError as problem:
        if net not in TABLE_1:
            raise
        return _awaited(spec, Preprocessing(), "awaited", str(problem))


def random_or_await(spec: NetSpec, preprocessing: Preprocessing, seed: int, home: Home) -> ChosenWeights:
    """Find the header of random weights that were drawn before, or count on them.

    Parameters
    ----------
    spec : NetSpec
        The net.
    preprocessing : Preprocessing
        That of the trained weights they stand beside.
    seed : int
        Of the initialisation.
    home : Home
        Keeps the header.

    Returns
    -------
    ChosenWeights
        `AwaitedWeights` if they were never drawn: then no block of theirs is there either.
    """
    known = drawn_before(spec, preprocessing, seed, home)
    return known if known is not None else _awaited(spec, preprocessing, "random", "")


def _awaited(spec: NetSpec, preprocessing: Preprocessing, kind: str, missing: str) -> AwaitedWeights:
    header = WeightsHeader(net=spec, preprocessing=preprocessing, classes=(), origin={"kind": kind}, sha256=_UNKNOWN)
    return AwaitedWeights(header=header, path=None, missing=missing)
