"""Our number beside a published one."""

from dataclasses import dataclass

from transferbench.types import PublishedRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a result claims to reproduce, and whether it does.

    Parameters
    ----------
    row : PublishedRow
        The published number.
    ours : float
        Our mean over the splits, in [0, 1].
    """

    row: PublishedRow
    ours: float

    @property
    def difference(self) -> float:
        """Ours minus the published, in [-1, 1]."""
        return self.ours - self.row.value

    @property
    def within(self) -> bool:
        """Whether the difference is within the row's stated tolerance."""
        return abs(self.difference) <= self.row.tolerance
