"""What an interrupted evaluation has done: finished splits, and how far the one has come that is being done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """A finished split: all that need not be done again.

    Parameters
    ----------
    C : float
        Chosen.
    validation : dict of float to float
        Metric on the validation part, for every C.
    machine : mapping of str to ndarray
        As `Prepared.machine` gave it.
    """

    C: float
    validation: dict[float, float]
    machine: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Begun:
    """A split whose C is being chosen.

    Parameters
    ----------
    validation : dict of float to float
        Metric on the validation part, for every C so far.
    path : mapping of str to ndarray
        As `Prepared.path_state` gave it after the last of them.
    """

    validation: dict[float, float]
    path: Mapping[str, NDArray[Any]]


class Pieces(Protocol):
    """Where finished splits, and values of C of the split that is being done, are kept while an evaluation goes on."""

    def get(self, split: int) -> Piece | None:
        """Return a split that was finished before, by its position; None if it was not."""

    def put(self, split: int, piece: Piece) -> None:
        """Keep a split that is finished; what was begun of it is of no use any more."""

    def get_begun(self, split: int) -> Begun | None:
        """Return how far a split has come; None if nothing of it was kept."""

    def put_begun(self, split: int, begun: Begun) -> None:
        """Keep how far a split has come, if that is worth its time. The arrays change when the split goes on."""
