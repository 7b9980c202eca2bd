"""The work folder: where datasets, weights, runs, descriptors and results are kept."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """One work folder; every path of the program hangs from it.

    Parameters
    ----------
    root : Path
        Made on first use.
    """

    root: Path

    @classmethod
    def at(cls, folder: Path) -> "Home":
        """Name a folder as the user wrote it.

        Parameters
        ----------
        folder : Path
            May be relative or begin with ``~``.

        Returns
        -------
        Home
            With an absolute path.
        """
        return cls(folder.expanduser().absolute())

    @property
    def data(self) -> Path:
        """Datasets, a folder each."""
        return self.root / "data"

    @property
    def weights(self) -> Path:
        """Weights that were fetched, imported or drawn."""
        return self.root / "weights"

    @property
    def features(self) -> Path:
        """Blocks of descriptors."""
        return self.root / "features"

    @property
    def grams(self) -> Path:
        """Gram matrices of blocks, made again at need."""
        return self.root / "grams"

    @property
    def runs(self) -> Path:
        """Pretraining runs, a folder each."""
        return self.root / "runs"

    @property
    def results(self) -> Path:
        """Results, a folder per recipe and time."""
        return self.root / "results"
