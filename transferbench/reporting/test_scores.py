"""The scores of every test image, kept beside a result, so that statistics and other metrics need no second evaluation.

With several classes per image all scores are kept, in float64: a metric recomputed from them is the same to the last
bit. With one class per image the few best classes are enough for every question asked so far, and 50 times smaller.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferbench.errors import ResultError
from transferbench.files import publish, sha256_file
from transferbench.types.arrays import Float64, Int8, Int64
from transferbench.types.labels import ClassLabels, Labels

FILE = "test-scores.npz"
OFFICIAL = "official"
"""Name of the split whose test labels only the organisers' server has."""
_BEST = 5
_DATE = (1980, 1, 1, 0, 0, 0)  # equal scores give equal bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplitScores:
    """What one variant said about the test images of one split.

    Parameters
    ----------
    variant : int
        Position in `Result.scores`.
    split : str
        Name of the split, or `OFFICIAL`.
    ids : tuple of str
        n test images, or people.
    truth : ndarray of shape (n,), int64, or (n, K), int8, or None
        Class numbers; or +1, -1, 0 (difficult) for every class; None where only a server knows.
    best : ndarray of shape (n, m), int64, or None
        Numbers of the m most certain classes, most certain first; None where an image may have several classes.
    values : ndarray of shape (n, m) or (n, K), float64
        Scores of the `best` classes, kept to single precision; or of all K.
    true_values : ndarray of shape (n,), float64, or None
        Where there is a `best`: the score of the true class, whether it is among them or not.
    """

    variant: int
    split: str
    ids: tuple[str, ...]
    truth: Int64 | Int8 | None
    best: Int64 | None
    values: Float64
    true_values: Float64 | None

    @classmethod
    def of(
        cls, variant: int, split: str, ids: tuple[str, ...], labels: Labels | None, scores: Float64
    ) -> "SplitScores":
        """Keep what matters of the scores of all classes.

        Parameters
        ----------
        variant : int
            Position in `Result.scores`.
        split : str
            Name of the split.
        ids : tuple of str
            n test images.
        labels : ClassLabels, MultiLabels or None
            Of the images; None where only a server has them.
        scores : ndarray of shape (n, K), float64
            Decision values.

        Returns
        -------
        SplitScores
            All scores, or the best ones.
        """
        if not isinstance(labels, ClassLabels):
            truth = None if labels is None else labels.of(ids)
            return cls(variant=variant, split=split, ids=ids, truth=truth, best=None, values=scores, true_values=None)
        numbers = labels.of(ids)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :_BEST].astype(np.int64)
        return cls(
            variant=variant,
            split=split,
            ids=ids,
            truth=numbers,
            best=best,
            values=_rounded(np.take_along_axis(scores, best, axis=1)),
            true_values=_rounded(scores[np.arange(len(ids)), numbers]),
        )

    @property
    def predicted(self) -> Int64:
        """The most certain class of every image; (n,), int64."""
        if self.best is None:
            msg = "an image with several classes has no single most certain one"
            raise ValueError(msg)
        return self.best[:, 0]


def save_test_scores(folder: Path, scores: Sequence[SplitScores]) -> str:
    """Write the scores of a result.

    Parameters
    ----------
    folder : Path
        Of the result; its ``result.json`` is written afterwards and makes the folder a result.
    scores : sequence of SplitScores
        All variants and splits.

    Returns
    -------
    str
        SHA-256 of the file, for the result.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {}
    index: list[dict[str, Any]] = []
    lists: dict[tuple[str, ...], int] = {}
    for number, one in enumerate(scores):
        index.append({"variant": one.variant, "split": one.split, "ids": lists.setdefault(one.ids, len(lists))})
        arrays |= {f"{number}.{name}": array for name, array in _arrays(one).items()}
    document = json.dumps({"entries": index, "ids": list(lists)}, separators=(",", ":"))
    arrays["index"] = np.frombuffer(document.encode(), dtype=np.uint8)
    path = folder / FILE
    publish(path, _zipped(arrays))
    return sha256_file(path)


def load_test_scores(folder: Path, sha256: str | None) -> tuple[SplitScores, ...]:
    """Read the scores of a result.

    Parameters
    ----------
    folder : Path
        Of the result.
    sha256 : str or None
        As the result states it.

    Returns
    -------
    tuple of SplitScores
        As they were saved.

    Raises
    ------
    ResultError
        If the result keeps none, or the file is missing or damaged.
    """
    path = folder / FILE
    if sha256 is None:
        msg = f"{folder}: this result keeps no scores of single images; evaluate its recipe again"
        raise ResultError(msg)
    if not path.is_file():
        msg = f"{path}: is not there, though the result beside it names it; evaluate the recipe again"
        raise ResultError(msg)
    if sha256_file(path) != sha256:
        msg = f"{path}: is not the file that the result beside it names; it was changed or is damaged"
        raise ResultError(msg)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    document = json.loads(arrays.pop("index").tobytes())
    return tuple(
        _read(arrays, number, entry, tuple(document["ids"][entry["ids"]]))
        for number, entry in enumerate(document["entries"])
    )


def _arrays(one: SplitScores) -> dict[str, NDArray[Any]]:
    """Choose the smallest types that lose nothing."""
    if one.best is None:
        all_classes: dict[str, NDArray[Any]] = {"values": one.values}
        return all_classes if one.truth is None else {"truth": one.truth.astype(np.int8), **all_classes}
    kept: dict[str, NDArray[Any]] = {"best": one.best.astype(np.int16), "values": one.values.astype(np.float32)}
    if one.truth is not None and one.true_values is not None:
        kept |= {"truth": one.truth.astype(np.int16), "true_values": one.true_values.astype(np.float32)}
    return kept


def _read(arrays: Mapping[str, NDArray[Any]], number: int, entry: dict[str, Any], ids: tuple[str, ...]) -> SplitScores:
    found = {name: arrays.get(f"{number}.{name}") for name in ("truth", "best", "values", "true_values")}
    truth, best, values, true_values = found.values()
    kind: type[Any] = np.int8 if best is None else np.int64
    return SplitScores(
        variant=entry["variant"],
        split=entry["split"],
        ids=ids,
        truth=None if truth is None else truth.astype(kind),
        best=None if best is None else best.astype(np.int64),
        values=np.asarray(values, dtype=np.float64),
        true_values=None if true_values is None else true_values.astype(np.float64),
    )


def _rounded(scores: Float64) -> Float64:
    return scores.astype(np.float32).astype(np.float64)


def _zipped(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Do what `numpy.savez_compressed` does, but without the time of day."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            plain = io.BytesIO()
            np.lib.format.write_array(plain, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, plain.getvalue())
    return inner.getvalue()
