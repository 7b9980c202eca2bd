"""What a command has before it, told in words. Takes the plain values that ``--json`` prints."""

from collections.abc import Mapping
from typing import Any

from transferbench.reporting.tables import text_table

_HEAD = ("features", "short side", "images", "to do", "state", "GMACs", "MB", "time")
_MINUTE, _HOUR = 60, 3600
_STEPS = {"gram": "Gram matrix", "choosing": "choosing C", "training": "training", "testing": "test scores"}


def duration(seconds: float | None) -> str:
    """Write a time as a person would.

    Parameters
    ----------
    seconds : float or None
        None where it is not known.

    Returns
    -------
    str
        For instance ``3 h 05 min``, ``12 min``, ``40 s``; a question mark for None.

    Examples
    --------
    >>> duration(11_100)
    '3 h 05 min'
    """
    if seconds is None:
        return "?"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s" if seconds >= 1 else "< 1 s" if seconds else "0 s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes // 60} h {minutes % 60:02d} min" if seconds >= _HOUR else f"{minutes} min"


def about(seconds: float | None, word: str = "about") -> str:
    """Write an estimate of a time.

    Parameters
    ----------
    seconds : float or None
        None where it is not known.
    word : str
        What stands before it.

    Returns
    -------
    str
        For instance ``about 40 s``, or ``less than a second``.

    Examples
    --------
    >>> about(0.2), about(40.0, "roughly")
    ('less than a second', 'roughly 40 s')
    """
    return "less than a second" if seconds is not None and 0 < seconds < 1 else f"{word} {duration(seconds)}"


def extraction_text(outlook: Mapping[str, Any]) -> str:
    """Tell of an extraction.

    Parameters
    ----------
    outlook : mapping
        Fields of an `ExtractionOutlook`.

    Returns
    -------
    str
        The pictures, a table of blocks, why each is not reused, and the sums.
    """
    rows, whys = [], []
    for block in outlook["blocks"]:
        side = f"{block['short_side_px']}{' box' if block['region'] == 'box' else ''}"
        rows.append(
            [
                block["features"],
                side,
                f"{block['images']:,}",
                f"{block['to_do']:,}",
                block["state"],
                "?" if block["macs"] is None else f"{block['macs'] / 1e9:,.0f}",
                "?" if block["n_bytes"] is None else f"{block['n_bytes'] / 1e6:,.1f}",
                duration(block["seconds"]),
            ]
        )
        if block["why"] and block["why"] != "no similar block":
            whys.append(f"  {block['features']} at {side} px is {block['state']}: {block['why']}")
    lines = [
        f"{outlook['dataset']}: {'; '.join(outlook['pictures'])}",
        "",
        text_table(_HEAD, rows, right=(*_HEAD[1:4], "GMACs", "MB")),
    ]
    lines += ["", *whys] if whys else []
    lines += ["", *_sums(outlook)]
    return "\n".join(lines)


def _sums(outlook: Mapping[str, Any]) -> list[str]:
    lines = [line for problem in outlook["missing_weights"] for line in f"weights: {problem}".splitlines()]
    room = "" if outlook["disk_bytes"] <= outlook["free_bytes"] else "; THERE IS NOT ENOUGH ROOM"
    lines.append(f"disk: {_bytes(outlook['disk_bytes'])} needed, {_bytes(outlook['free_bytes'])} free{room}")
    if outlook["probes"]:
        lines.append(f"memory: about {_bytes(outlook['memory_bytes'])}")
        lines.append(f"time: {about(outlook['seconds'])} (probe: {'; '.join(outlook['probes'])})")
    elif outlook["seconds"] is None:
        lines.append("time: not probed")
    else:
        lines.append("time: nothing is to be computed")
    return lines


def recipe_text(outlook: Mapping[str, Any]) -> str:
    """Tell of the whole chain of a recipe.

    Parameters
    ----------
    outlook : mapping
        Fields of a `RecipeOutlook`.

    Returns
    -------
    str
        Pretraining, extraction and SVMs.
    """
    lines = [outlook["recipe"], *(f"pretraining: {line}" for line in outlook["pretraining"])]
    lines += ["", extraction_text(outlook["extraction"]), ""]
    for svm in outlook["svms"]:
        size = "?" if svm["dimensions"] is None else f"{svm['dimensions']:,}"
        memory = f"at most about {_bytes(svm['memory_bytes'])} of memory, " if svm["memory_bytes"] is not None else ""
        lines.append(
            f"SVMs of {svm['variant']}: {svm['fits']:,} fits ({svm['classes']} classes, "
            f"{svm['splits']} split{'s' if svm['splits'] > 1 else ''}, "
            f"{'' if svm['rounds'] == 1 else str(svm['rounds']) + ' numbers of training images, '}"
            f"{svm['tried']} values of C and all training images), {svm['images']:,} x {size}; "
            f"{memory}{'time not known' if svm['seconds'] is None else about(svm['seconds'], 'roughly')}"
            f"{_steps(svm['where'])}"
        )
        lines.append(f"  solver {svm['solver'] or '?'}: {svm['reason']}")
    return "\n".join(lines)


def _steps(where: Mapping[str, float] | None) -> str:
    long = {step: seconds for step, seconds in (where or {}).items() if seconds >= 1}
    return f" ({', '.join(f'{_STEPS[step]} {duration(seconds)}' for step, seconds in long.items())})" if long else ""


def _bytes(n: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:,.1f} {unit}"
    return f"{n} bytes"
