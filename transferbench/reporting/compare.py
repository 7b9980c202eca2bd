"""Our number beside a published one: the difference, the verdict, and what was done otherwise."""

from dataclasses import dataclass
from typing import Literal

from transferbench.reporting.deviations import Deviation, deviations, own
from transferbench.reporting.result import Result
from transferbench.types.scores import PublishedRow

Verdict = Literal["within", "outside", "not comparable"]
_ROUNDING = 9  # 0.903 - 0.893 is 0.010000000000000009


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a result claims to reproduce, and whether it does.

    Parameters
    ----------
    row : PublishedRow
        The published number.
    ours : float
        Our mean over the splits, in [0, 1].
    deviations : tuple of Deviation
        What was done otherwise.
    """

    row: PublishedRow
    ours: float
    deviations: tuple[Deviation, ...] = ()

    @property
    def difference(self) -> float:
        """Ours minus the published, in [-1, 1]."""
        return self.ours - self.row.value

    @property
    def within(self) -> bool:
        """Whether the difference is within the row's stated tolerance."""
        return round(abs(self.difference), _ROUNDING) <= self.row.tolerance

    @property
    def verdict(self) -> Verdict:
        """Whether ours is within the tolerance, outside, or a number of something else."""
        if any(deviation.effect == "another quantity" for deviation in self.deviations):
            return "not comparable"
        return "within" if self.within else "outside"

    @property
    def sentence(self) -> str:
        """The verdict in words, without a full stop."""
        points = f"the stated tolerance of {100 * self.row.tolerance:.1f} points"
        match self.verdict:
            case "within":
                return f"Ours is within {points}"
            case "outside":
                return f"Ours is NOT within {points}"
            case _:
                return "Ours is NOT comparable: it is a number of something else"


def compare(result: Result, row: PublishedRow) -> Comparison:
    """Hold a result against a published number.

    Parameters
    ----------
    result : Result
        Whose recipe claims the row.
    row : PublishedRow
        As it is published now.

    Returns
    -------
    Comparison
        With everything that was done otherwise.
    """
    return Comparison(row=row, ours=own(result).mean, deviations=deviations(result, row))
