"""`tb results`: the store of results, and how two of them differ."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferbench.errors import ResultError
from transferbench.evaluation.statistics import Paired, compare, holm, same_images
from transferbench.evaluation.tested import Tests
from transferbench.home import Home
from transferbench.pipeline.statistics import measure_of, tests_of
from transferbench.reporting.deviations import own
from transferbench.reporting.result import (
    RESULT_FILE,
    Result,
    VariantScore,
    find_result,
    list_results,
    load_result,
    readable,
)
from transferbench.reporting.test_scores import load_test_scores

_BESIDE = ("claims", "floors")
"""Keys of a recipe that its own scores do not depend on."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A result and where it is.

    Parameters
    ----------
    folder : Path
        Its own.
    result : Result
        What it holds.
    """

    folder: Path
    result: Result

    @property
    def nets(self) -> str:
        """Nets of the recipe, for a person."""
        return " & ".join(net["name"] for net in self.result.recipe["features"]["nets"])

    @property
    def scores(self) -> VariantScore:
        """The recipe's own, without floors and smaller training parts."""
        return own(self.result)

    def plain(self) -> dict[str, Any]:
        """Tell of it in a line of JSON values.

        Returns
        -------
        dict
            Scores in [0, 1].
        """
        return {
            "created": self.result.created,
            "recipe": self.result.recipe_name,
            "dataset": self.result.dataset,
            "nets": self.nets,
            "metric": self.result.metric,
            "value": self.scores.mean,
            "std": self.scores.std,
            "interval": self.scores.interval,
            "limit": self.result.limit,
            "folder": str(self.folder),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One result beside the first.

    Parameters
    ----------
    other : Stored
        Which one.
    differences : tuple of tuple of str
        What went in: name, of the first, of this one. Empty if all that decides the scores is the same.
    paired : Paired or None
        First minus this one; None where they are not of the same test images.
    p_holm : float or None
        Of the permutation test, corrected for all results that are compared.
    """

    other: Stored
    differences: tuple[tuple[str, str, str], ...]
    paired: Paired | None
    p_holm: float | None


def stored(
    home: Home,
    *,
    recipe: str | None = None,
    dataset: str | None = None,
    net: str | None = None,
    since: str | None = None,
) -> list[Stored]:
    """Find results.

    Parameters
    ----------
    home : Home
        The work folder.
    recipe, dataset, net : str, optional
        Only of these.
    since : str, optional
        Only of this day and later, as ``2026-01-31``.

    Returns
    -------
    list of Stored
        Oldest first.
    """
    found = (Stored(folder, result) for folder, result in readable(list_results(home.results)))
    return [
        one
        for one in found
        if recipe in {None, one.result.recipe_name}
        and dataset in {None, one.result.dataset}
        and (net is None or net in one.nets.split(" & "))
        and (since is None or one.result.created >= since)
    ]


def compare_results(home: Home, names: Sequence[str]) -> tuple[Stored, list[Compared]]:
    """Hold results against the first: what differs between their inputs, then by how much the numbers do.

    Parameters
    ----------
    home : Home
        The work folder.
    names : sequence of str
        Folders, or recipes whose newest result is meant; two or more.

    Returns
    -------
    tuple of Stored and list of Compared
        The first, and each of the others beside it.

    Raises
    ------
    ResultError
        If one is not there.
    """
    first, *others = (Stored(folder, load_result(folder)) for folder in (find_result(home.results, n) for n in names))
    return first, hold_against(first, others)


def hold_against(first: Stored, others: Sequence[Stored]) -> list[Compared]:
    """Hold results against one of them.

    Parameters
    ----------
    first : Stored
        Against which.
    others : sequence of Stored
        Which ones; the p values are corrected for their number.

    Returns
    -------
    list of Compared
        In the same order.
    """
    pairs = [_paired(first, other) for other in others]
    corrected = iter(holm([pair.p_permutation for pair in pairs if pair is not None]))
    return [
        Compared(
            other=other,
            differences=tuple(differences(first.result, other.result)),
            paired=pair,
            p_holm=None if pair is None else next(corrected),
        )
        for other, pair in zip(others, pairs, strict=True)
    ]


def differences(first: Result, second: Result) -> Iterator[tuple[str, str, str]]:
    """List what went into the scores of two results differently: not their floors, nor the numbers they claim.

    Parameters
    ----------
    first, second : Result
        Any two.

    Yields
    ------
    tuple of three str
        Name of the input, and its two values.
    """
    one, other = _inputs(first), _inputs(second)
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            yield name, str(one.get(name, "none")), str(other.get(name, "none"))


def export(home: Home, name: str, into: Path) -> Path:
    """Copy a result, whole, to where it can be given away.

    Parameters
    ----------
    home : Home
        The work folder.
    name : str
        A folder, or a recipe whose newest result is meant.
    into : Path
        A folder that is not there yet.

    Returns
    -------
    Path
        The copy.

    Raises
    ------
    ResultError
        If there is no such result, or something is there already.
    """
    folder = find_result(home.results, name)
    load_result(folder)
    if into.exists():
        msg = f"{into}: is there already; name a folder that is not"
        raise ResultError(msg)
    shutil.copytree(folder, into)
    return into


def deletable(home: Home, folders: Sequence[str]) -> tuple[Path, ...]:
    """Find the results that are to be deleted.

    Parameters
    ----------
    home : Home
        The work folder.
    folders : sequence of str
        Of results in its store: paths, or the names of the folders alone.

    Returns
    -------
    tuple of Path
        Each once.

    Raises
    ------
    ResultError
        If one is not a result of this store, or is a recipe, which may have several.
    """
    known = list_results(home.results)
    found: dict[Path, None] = {}
    for name in folders:
        meant = [one for one in known if one.resolve() == Path(name).resolve()]
        meant = meant or [one for one in known if one.name == name]
        if len(meant) != 1:
            others = meant or [one for one in known if one.parent.name == name]
            lines = [f"{name}: is no folder of a result in {home.results}; see: tb results list"]
            lines += [f"  Do you mean {one}" for one in others]
            raise ResultError("\n".join(lines))
        found[meant[0]] = None
    return tuple(found)


def delete(folders: Sequence[Path]) -> None:
    """Delete results.

    Parameters
    ----------
    folders : sequence of Path
        As `deletable` found them.
    """
    for folder in folders:
        (folder / RESULT_FILE).unlink()  # first: what is left of a folder is no result
        shutil.rmtree(folder)


def _paired(first: Stored, other: Stored) -> Paired | None:
    if first.result.metric != other.result.metric:
        return None
    ours, theirs = (_tests(one) for one in (first, other))
    return compare(ours, theirs, measure_of(first.result.metric)) if same_images(ours, theirs) else None


def _tests(one: Stored) -> Tests:
    number = one.result.scores.index(one.scores)
    return tests_of(load_test_scores(one.folder, one.result.test_scores_sha256), number)


def _inputs(result: Result) -> dict[str, Any]:
    plain: dict[str, Any] = dict(_flat({key: v for key, v in result.recipe.items() if key not in _BESIDE}))
    plain |= {"metric": result.metric, "solver": result.solver, "limit": result.limit, "device": result.device}
    plain |= {f"weights {n}": weights["sha256"][:16] for n, weights in enumerate(result.weights, 1)}
    plain |= dict(_blocks(result))
    plain |= {f"split {split.name}": split.sha256[:16] for split in own(result).splits}
    plain |= {f"version of {name}": version for name, version in result.environment.items()}
    return plain | {"images left out": len(result.skipped)}


def _blocks(result: Result) -> Iterator[tuple[str, str]]:
    """Name the descriptors of the recipe's own nets by what they are of, not by where they stand in a row."""
    own_weights = [weights["sha256"] for weights in result.weights]
    seen: Counter[str] = Counter()
    for block in result.blocks:
        spec = block.spec
        if own_weights and spec.get("weights_sha256") not in own_weights:
            continue  # a floor's
        name = f"block {spec['net']['name']} {spec['short_side_px']} px {spec.get('region', 'image')}"
        seen[name] += 1
        yield name + (f" ({seen[name]})" if seen[name] > 1 else ""), block.key[:16]


def _flat(value: Any, place: str = "recipe") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{place}.{key}")
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for number, item in enumerate(value, 1):
            yield from _flat(item, f"{place}[{number}]")
    elif value is not None:  # what a recipe leaves out is "none" in the table, as what it does not know
        yield place, str(value)
