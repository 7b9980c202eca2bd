"""Every image file of a survey, opened: header or all of it, in parallel."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from transferbench.data.alike import alike, signs_of
from transferbench.data.images import ImageHeader, read_header, read_image
from transferbench.data.protocols import protocol_parts
from transferbench.data.survey import Finding, Survey, some
from transferbench.errors import BadImageError, DatasetError
from transferbench.files import sha256_file

_WORKERS = min(16, 4 * (os.cpu_count() or 1))
_AT_ONCE = 4096
_NAMED = 50
_MODES = {"L": "grey", "LA": "grey with alpha", "P": "palette", "RGBA": "RGB with alpha", "1": "two-level"}


@dataclass(frozen=True, slots=True)
class _Opened:
    file: str
    header: ImageHeader | None
    problem: str
    todo: str = ""
    sha256: str = ""
    signs: bytes = b""


def check_images(survey: Survey, *, deep: bool, done: Callable[[], None]) -> list[Finding]:
    """Open every image of a survey.

    Parameters
    ----------
    survey : Survey
        Names the files.
    deep : bool
        Decode them, and look for files of equal contents and images that look alike.
    done : callable
        Told after every file.

    Returns
    -------
    list of Finding
        One per damaged file (fifty are named, the rest counted), and what is unusual about the others.
    """
    files = sorted(set(survey.files.values()))
    modes: Counter[str] = Counter()
    bad: list[_Opened] = []
    odd: list[str] = []
    decoded: list[_Opened] = []
    sizes: dict[str, tuple[int, int]] = {}
    for opened in _opened(files, deep=deep):
        done()
        if opened.header is None:
            bad.append(opened)
            continue
        header = opened.header
        modes[header.mode] += 1
        sizes[opened.file] = (header.width, header.height)
        if (header.format == "PNG") != opened.file.lower().endswith(".png"):
            odd.append(Path(opened.file).name)
        if deep:
            decoded.append(opened)
    findings = [Finding("corrupt", one.problem, one.file, one.todo) for one in bad[:_NAMED]]
    if len(bad) > _NAMED:
        findings.append(Finding("corrupt", f"{len(bad) - _NAMED:,} more images are damaged", "", "unpack again"))
    if files and not bad:
        findings.append(Finding("ok", f"{len(files):,} image files {'decoded' if deep else 'have a good header'}"))
    findings += _unusual(modes, odd)
    findings += _outside(survey, sizes)
    part_of = _part_of(survey)
    return [*findings, *_equal(decoded, part_of), *_alike(decoded, part_of)]


def _opened(files: list[str], *, deep: bool) -> Iterator[_Opened]:
    with ThreadPoolExecutor(_WORKERS) as workers:
        for start in range(0, len(files), _AT_ONCE):
            yield from workers.map(lambda file: _open(file, deep=deep), files[start : start + _AT_ONCE])


def _open(file: str, *, deep: bool) -> _Opened:
    path = Path(file)
    try:
        header = read_header(path)
        if not deep:
            return _Opened(file, header, "")
        return _Opened(file, header, "", sha256=sha256_file(path), signs=signs_of(read_image(path)))
    except BadImageError as bad:
        todo = bad.todo.rstrip(".")
        return _Opened(file, None, bad.reason, f"{todo[0].lower()}{todo[1:]}" if todo else "get it again")
    except DatasetError as problem:
        return _Opened(file, None, str(problem).removeprefix(f"{path}: ").splitlines()[0], "get it again")


def _unusual(modes: Counter[str], odd: list[str]) -> list[Finding]:
    findings = []
    other = {mode: n for mode, n in modes.items() if mode != "RGB"}
    if other:
        listed = ", ".join(f"{n:,} {_MODES.get(mode, mode)}" for mode, n in sorted(other.items()))
        findings.append(Finding("info", f"not RGB: {listed}; converted when read"))
    if odd:
        findings.append(
            Finding("info", f"{some(sorted(odd), 'file')}, of another format than its name; read by content")
        )
    return findings


def _outside(survey: Survey, sizes: dict[str, tuple[int, int]]) -> list[Finding]:
    beyond = [
        person
        for person, box in survey.boxes.items()
        if (size := sizes.get(survey.files.get(person, ""))) is not None and box != box.clipped(*size)
    ]
    return (
        [Finding("info", f"{some(sorted(beyond), 'box', 'boxes')}, beyond the image; cut off there")] if beyond else []
    )


def _part_of(survey: Survey) -> dict[str, str]:
    """Say which part of a given division a file is in; random divisions have none."""
    parts = dict.fromkeys(protocol_parts(survey.record.protocol))
    return {survey.files[i]: part for part in parts for i in survey.parts.get(part, ()) if i in survey.files}


def _apart(groups: Sequence[Sequence[_Opened]], part_of: Mapping[str, str]) -> str:
    """Say what copies in the data do to a test on them."""
    if not part_of:
        return "random splits may part them"
    across = [sorted({part_of.get(one.file, "") for one in group} - {""}) for group in groups]
    across = [parts for parts in across if len(parts) > 1]
    if not across:
        return "all within a part"
    return f"{len(across):,} of them across {' and '.join(across[0])}, so that what is held out has been seen"


def _alike(decoded: list[_Opened], part_of: Mapping[str, str]) -> list[Finding]:
    pairs = [(decoded[a], decoded[b]) for a, b in alike([one.signs for one in decoded])]
    other = [(a, b) for a, b in pairs if a.sha256 != b.sha256]
    if not other:
        return []
    first = " and ".join(Path(opened.file).name for opened in other[0])
    told = f"{len(other):,} pair{'s' if len(other) > 1 else ''} of images look alike"
    what = f"{told}, first {first}: copies of one photograph? ({_apart(other, part_of)})"
    return [Finding("info", what, str(Path(other[0][0].file).parent))]


def _equal(decoded: list[_Opened], part_of: Mapping[str, str]) -> list[Finding]:
    by_hash: dict[str, list[_Opened]] = {}
    for one in decoded:
        by_hash.setdefault(one.sha256, []).append(one)
    twins = [group for group in by_hash.values() if len(group) > 1]
    if not twins:
        return []
    first = " = ".join(Path(one.file).name for one in twins[0][:3])
    told = f"{len(twins):,} group{'s' if len(twins) > 1 else ''} of files with equal contents"
    return [Finding("info", f"{told}, first {first}; {_apart(twins, part_of)}", str(Path(twins[0][0].file).parent))]
