"""Several results in one table: recipes side by side, or the combinations of a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from transferbench.data.published import published_row
from transferbench.errors import CacheError
from transferbench.pipeline.many import Outcome
from transferbench.pipeline.results import Compared, Stored, hold_against
from transferbench.reporting.deviations import own
from transferbench.reporting.result import Result, load_result
from transferbench.reporting.tables import percent, percents
from transferbench.types.scores import PublishedRow

HEAD = ("dimensions", "ours", "95% interval", "C per split", "reference", "difference")
PAIRED_HEAD = ("to the best", "p (Holm)")


@dataclass(frozen=True, slots=True)
class Line:
    """One experiment of several.

    Parameters
    ----------
    name : str
        Of the recipe or combination.
    cells : tuple of str
        Under `HEAD`.
    plain : dict
        The same and more, for JSON.
    """

    name: str
    cells: tuple[str, ...]
    plain: dict[str, Any]


def lines_of(outcomes: Sequence[Outcome]) -> list[Line]:
    """Tell several experiments in a line each.

    Parameters
    ----------
    outcomes : sequence of Outcome
        As `evaluate_many` returned them.

    Returns
    -------
    list of Line
        In the same order; of a curve over few training images the end with the most of them, as `own` chooses.
    """
    return [_line(outcome) for outcome in outcomes]


def against_best(outcomes: Sequence[Outcome], lines: Sequence[Line]) -> list[Line]:
    """Hold every experiment against the best one, image by image.

    Parameters
    ----------
    outcomes : sequence of Outcome
        As `evaluate_many` returned them.
    lines : sequence of Line
        As `lines_of` made them.

    Returns
    -------
    list of Line
        With two more cells, under `PAIRED_HEAD`: this one minus the best, and the p value of the permutation test,
        corrected for all that are compared. Both are empty for the best itself, where something is missing, and where
        the test images are not the same.
    """
    done = {number: load_result(o.folder) for number, o in enumerate(outcomes) if o.folder is not None}
    if not done:
        return [replace(line, cells=(*line.cells, "", "")) for line in lines]
    best = max(done, key=lambda number: own(done[number]).mean)
    others = [number for number in done if number != best]
    chosen = [Stored(folder, done[n]) for n in (best, *others) if (folder := outcomes[n].folder) is not None]
    found = dict(zip(others, hold_against(chosen[0], chosen[1:]), strict=True))
    return [_beside(line, found.get(number), is_best=number == best) for number, line in enumerate(lines)]


def _beside(line: Line, compared: Compared | None, *, is_best: bool) -> Line:
    paired = None if compared is None else compared.paired
    told: dict[str, Any] = {"is_best": is_best, "to_best": None}
    if compared is None or paired is None:
        return replace(line, cells=(*line.cells, "best" if is_best else "", ""), plain=line.plain | told)
    told["to_best"] = {
        "difference": -paired.difference,
        "interval": [-paired.interval[1], -paired.interval[0]],
        "p_permutation": paired.p_permutation,
        "p_bootstrap": paired.p_bootstrap,
        "p_holm": compared.p_holm,
        "n_images": paired.n_images,
    }
    cells = (*line.cells, f"{-100 * paired.difference:+.1f}", f"{compared.p_holm:.3f}")
    return replace(line, cells=cells, plain=line.plain | told)


def require_all(outcomes: Sequence[Outcome]) -> None:
    """Say what is missing.

    Parameters
    ----------
    outcomes : sequence of Outcome
        As `evaluate_many` returned them.

    Raises
    ------
    CacheError
        If anything is; the message gives every command that would make it, once.
    """
    commands = dict.fromkeys(command for outcome in outcomes for command in outcome.missing)
    lacking = sum(outcome.folder is None for outcome in outcomes)
    if lacking:
        listed = "\n".join(f"  {command}" for command in commands)
        msg = f"{lacking} of {len(outcomes)} experiments lack weights or descriptors. What makes them:\n{listed}"
        raise CacheError(msg)


def _line(outcome: Outcome) -> Line:
    if outcome.folder is None:
        plain: dict[str, Any] = {"name": outcome.name, "result": None, "missing": list(outcome.missing)}
        return Line(outcome.name, ("", "missing", "", "", "", ""), plain)
    result = load_result(outcome.folder)
    ours = own(result)
    row = claimed_row(result)
    reference = "" if row is None else percent(row.value, row.spread)
    difference = "" if row is None else f"{100 * (ours.mean - row.value):+.1f}"
    chosen = ", ".join(f"{split.C:g}" for split in ours.splits)
    cells = (
        str(ours.dimensions),
        percent(ours.mean, ours.std) + (" TRIAL" if result.limit is not None else ""),
        percents(ours.interval),
        chosen,
        reference,
        difference,
    )
    return Line(outcome.name, cells, _plain(outcome, result, row))


def claimed_row(result: Result) -> PublishedRow | None:
    """Look up the published row that a result stands beside.

    Parameters
    ----------
    result : Result
        Of a recipe.

    Returns
    -------
    PublishedRow or None
        None for a recipe without a claim, and for a trial.
    """
    claims = result.recipe["claims"]
    return None if claims is None or result.limit is not None else published_row(result.dataset, claims)


def _plain(outcome: Outcome, result: Result, row: PublishedRow | None) -> dict[str, Any]:
    ours = own(result)
    return {
        "name": outcome.name,
        "result": str(outcome.folder),
        "missing": [],
        "metric": result.metric,
        "value": ours.mean,
        "std": ours.std,
        "interval": ours.interval,
        "C": [split.C for split in ours.splits],
        "dimensions": ours.dimensions,
        "reference": None if row is None else row.value,
        "limit": result.limit,
    }
