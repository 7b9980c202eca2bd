"""Which images train, which choose C, which are tested on."""

from dataclasses import dataclass

from transferbench.types.identity import sha256_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One division of a dataset. C is chosen on `validation` after fitting on `fit`; then fit + validation train.

    Parameters
    ----------
    name : str
        As printed, for instance ``1 of 3``.
    fit, validation, test : tuple of str
        Disjoint ids.
    """

    name: str
    fit: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def train(self) -> tuple[str, ...]:
        """All training ids: `fit` and `validation`, sorted."""
        return tuple(sorted((*self.fit, *self.validation)))

    @property
    def sha256(self) -> str:
        """Identity of the three id lists."""
        return sha256_of([self.fit, self.validation, self.test])
