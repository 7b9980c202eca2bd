"""Result files of the VOC evaluation server: written, and read back as the server would read them."""

import gzip
import io
import math
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transferbench.errors import ResultError
from transferbench.files import publish

_DECIMALS = 6
_MOST_BYTES = 100 << 20
_KINDS = {
    "comp1": ("Main", "cls"),
    "comp2": ("Main", "cls"),
    "comp9": ("Action", "action"),
    "comp10": ("Action", "action"),
}
_SCORE = re.compile(r"[-+]?\d+\.(\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What an entry to the server consists of.

    Parameters
    ----------
    year : str
        The tree's name, for instance ``VOC2012``.
    competition : {"comp1", "comp2", "comp9", "comp10"}
        Classification (1, 2) or action (9, 10), trained with VOC alone (1, 9) or with other images too (2, 10).
    classes : tuple of str
        A file each.
    ids : tuple of str
        Every test image; ``<image id>#<object index>`` for every test person.
    """

    year: str
    competition: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]

    def file(self, class_name: str) -> str:
        """Return the name of a class's file in the archive.

        Parameters
        ----------
        class_name : str
            One of `classes`.

        Returns
        -------
        str
            For instance ``results/VOC2012/Main/comp2_cls_test_cat.txt``.
        """
        folder, task = _KINDS[self.competition]
        return f"results/{self.year}/{folder}/{self.competition}_{task}_test_{class_name}.txt"


def write_submission(path: Path, entry: Entry, scores: Mapping[str, Sequence[float]]) -> None:
    """Write an entry as the server takes it.

    Parameters
    ----------
    path : Path
        Ends in ``.tar.gz``.
    entry : Entry
        What it consists of.
    scores : mapping of str to sequence of float
        For every class the scores of `entry.ids`, in that order; larger means more likely.

    Raises
    ------
    ResultError
        If the path has another suffix, a class has no scores, or a score is not finite.
    StorageError
        If the file cannot be written.

    Notes
    -----
    Equal scores give equal bytes: names are sorted, times and owners are zero.
    """
    if not path.name.endswith(".tar.gz"):
        msg = f"{path}: the server takes .tar.gz only; name the file so"
        raise ResultError(msg)
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, text in sorted((entry.file(c), _lines(entry, c, scores)) for c in entry.classes):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    publish(path, gzip.compress(inner.getvalue(), mtime=0))


def check_submission(path: Path, entry: Entry) -> list[str]:
    """Read an entry back and find what the server would refuse or score otherwise than meant.

    Parameters
    ----------
    path : Path
        An archive, made by whatever program.
    entry : Entry
        What it should consist of.

    Returns
    -------
    list of str
        A sentence per problem; empty if there is none.
    """
    try:
        files = dict(_members(path))
    except (OSError, EOFError, zlib.error, tarfile.TarError) as problem:
        return [f"{path} is no .tar.gz archive, the only form the server takes: {problem}"]
    except ResultError as problem:
        return [str(problem)]
    wanted = {entry.file(name) for name in entry.classes}
    problems = [f"{name}: not there" for name in sorted(wanted - files.keys())]
    problems += [_stranger(name, entry) for name in sorted(files.keys() - wanted)]
    for name in sorted(wanted & files.keys()):
        problems += [f"{name}: {problem}" for problem in _problems(files[name], entry)]
    return problems


def _lines(entry: Entry, class_name: str, scores: Mapping[str, Sequence[float]]) -> bytes:
    values = scores.get(class_name, ())
    if len(values) != len(entry.ids):
        msg = f"class {class_name} has {len(values)} scores for {len(entry.ids)} test entries"
        raise ResultError(msg)
    lines = []
    for one, value in zip(entry.ids, values, strict=True):
        if not math.isfinite(value):
            msg = f"class {class_name}: the score of {one} is {value}; only finite numbers can be submitted"
            raise ResultError(msg)
        lines.append(f"{one.replace('#', ' ')} {value:.{_DECIMALS + 3}f}\n")
    return "".join(lines).encode()


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    total = 0
    with gzip.open(path) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
        for member in tar:
            total += member.size
            if total > _MOST_BYTES:
                msg = f"{path}: is larger than {_MOST_BYTES:,} bytes unpacked; no entry is"
                raise ResultError(msg)
            source = tar.extractfile(member) if member.isreg() else None
            if source is not None:
                yield member.name.removeprefix("./"), source.read()


def _stranger(name: str, entry: Entry) -> str:
    found = re.search(r"/(comp\d+)_", name)
    if found and found[1] != entry.competition:
        return f"{name}: would be entered as {found[1]}; these scores belong into {entry.competition}"
    return f"{name}: no file of this entry"


def _problems(data: bytes, entry: Entry) -> Iterator[str]:
    n_words = 3 if _KINDS[entry.competition][0] == "Action" else 2
    rows = [line.split() for line in data.decode("utf-8", errors="replace").splitlines() if line.strip()]
    bad = [number for number, row in enumerate(rows, 1) if len(row) != n_words]
    if bad:
        yield f"line {bad[0]} has not {n_words} words, {len(bad)} such line(s)"
    good = [row for row in rows if len(row) == n_words]
    ids = ["#".join(row[:-1]) for row in good]
    yield from _about(ids, entry.ids)
    odd = [row[-1] for row in good if not _SCORE.fullmatch(row[-1])]
    if odd:
        yield f"{len(odd)} score(s) are no finite decimal numbers, first {odd[0]}"
    coarse = [row[-1] for row in good if (m := _SCORE.fullmatch(row[-1])) and len(m[1]) < _DECIMALS]
    if coarse:
        yield f"{len(coarse)} score(s) have fewer than {_DECIMALS} decimals, first {coarse[0]}; that makes ties"


def _about(found: Sequence[str], wanted: Iterable[str]) -> Iterator[str]:
    expected, seen = set(wanted), set(found)
    if len(seen) < len(found):
        repeated = next(one for one, n in Counter(found).items() if n > 1)
        yield f"{len(found) - len(seen)} line(s) are repeated, first {repeated}; the server stops at that"
    if unknown := sorted(seen - expected):
        yield f"{len(unknown)} line(s) are no test entry, first {unknown[0]}; the server stops at that"
    if absent := sorted(expected - seen):
        yield f"{len(absent)} test entry(s) are not there, first {absent[0]}; they would be ranked last"
