"""Pretraining runs on disk: which folder belongs to a recipe, and whether the run is finished. Needs no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferbench.data.images import PIXELS_VERSION
from transferbench.data.record import is_own, load_record
from transferbench.errors import TrainingError
from transferbench.home import Home
from transferbench.recipe.files import to_dict
from transferbench.recipe.pretrain import PretrainRecipe
from transferbench.types.identity import sha256_of

TRAINING_VERSION = 2
"""Raised when a change of the training code changes the weights that come out."""


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of one pretraining run.

    Parameters
    ----------
    name : str
        Of the recipe.
    folder : Path
        Ends in the first digits of the hash of everything that decides the weights.
    """

    name: str
    folder: Path

    @classmethod
    def of(
        cls,
        home: Home,
        name: str,
        recipe: PretrainRecipe,
        *,
        limit: int | None = None,
        start: "Run | None" = None,
        extra: Mapping[str, Any] | None = None,
    ) -> "Run":
        """Work out the folder of a recipe.

        Parameters
        ----------
        home : Home
            The work folder.
        name : str
            Of the recipe.
        recipe : PretrainRecipe
            Its content.
        limit : int, optional
            Images of every class, for a trial.
        start : Run, optional
            Whose weights it begins with.
        extra : mapping, optional
            What else decides the weights, as JSON values: identity of the user's own images, or of packed ones.

        Returns
        -------
        Run
            Whether or not the folder exists.
        """
        inputs: dict[str, Any] = {
            "recipe": to_dict(recipe),
            "images_sha256": None if is_own(recipe.dataset) else load_record(recipe.dataset).images_sha256,
            "pixels_version": PIXELS_VERSION,
            "training_version": TRAINING_VERSION,
        }
        if start is not None:
            inputs["start"] = start.folder.name
        inputs |= extra or {}
        if limit is not None:
            name, inputs = f"{name}-trial", inputs | {"limit": limit}
        return cls(name, home.runs / f"{name}-{sha256_of(inputs)[:8]}")

    @property
    def weights(self) -> Path:
        """The weights after the last epoch."""
        return self.folder / "weights.safetensors"

    @property
    def best_weights(self) -> Path:
        """The weights after the epoch with the highest held-out accuracy, the first of several."""
        return self.folder / "weights-best.safetensors"

    @property
    def document(self) -> Path:
        """What the run was, written last: a run is finished when this file is there."""
        return self.folder / "run.json"

    @property
    def finished(self) -> bool:
        """Whether weights and document are there."""
        return self.document.is_file() and self.weights.is_file()

    def is_of(self, recipe: PretrainRecipe) -> bool:
        """Tell whether a finished run did what a recipe says, by the code as it is now.

        Parameters
        ----------
        recipe : PretrainRecipe
            As it is now.

        Returns
        -------
        bool
            Whatever the images were read from.
        """
        found = self.summary()
        versions = {"pixels_version": PIXELS_VERSION, "training_version": TRAINING_VERSION}
        return found["recipe"] == to_dict(recipe) and all(found.get(key) == value for key, value in versions.items())

    def summary(self) -> dict[str, Any]:
        """Read what a finished run was.

        Returns
        -------
        dict
            As the pretraining wrote it.

        Raises
        ------
        TrainingError
            If the file is damaged.
        """
        try:
            found: dict[str, Any] = json.loads(self.document.read_bytes())
        except (OSError, ValueError) as problem:
            msg = f"{self.document}: is damaged: {problem}. Delete the folder {self.folder} to train anew."
            raise TrainingError(msg) from problem
        return found


def runs_of(home: Home, name: str) -> list[Run]:
    """List the finished runs that a name can mean.

    Parameters
    ----------
    home : Home
        The work folder.
    name : str
        Of a run's folder, or of a recipe.

    Returns
    -------
    list of Run
        Newest first; the folder of that very name alone, if there is one.
    """
    exact = Run(name, home.runs / name)
    if name and "/" not in name and exact.finished:
        return [exact]
    found = [Run(name, path.parent) for path in home.runs.glob("*/run.json")]
    named = [run for run in found if run.finished and run.summary()["recipe_name"] == name]
    return sorted(named, key=lambda run: run.document.stat().st_mtime, reverse=True)


def finished_weights(home: Home) -> list[Path]:
    """List the weights of all finished runs.

    Parameters
    ----------
    home : Home
        The work folder.

    Returns
    -------
    list of Path
        Newest first.
    """
    documents = sorted(home.runs.glob("*/run.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [
        path.parent / "weights.safetensors" for path in documents if (path.parent / "weights.safetensors").is_file()
    ]
