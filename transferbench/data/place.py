"""Where a dataset's files are, and how much of them is wanted."""

from dataclasses import dataclass, field
from pathlib import Path

from transferbench.progress import Progress, Silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a dataset is opened with.

    Parameters
    ----------
    folder : Path
        Holds the files, in the layout they are distributed in.
    memory : Path, optional
        Folder that keeps the hashes of files between runs; without it every file is hashed anew.
    limit : int, optional
        For a trial: at most so many images of every class, in every part.
    progress : Progress
        Told of what takes long: hashing files for the first time.
    """

    folder: Path
    memory: Path | None = None
    limit: int | None = None
    progress: Progress = field(default_factory=Silent, compare=False, repr=False)


HERE = Place(folder=Path())
"""The current folder, all of it; datasets that come with a package need no place."""
