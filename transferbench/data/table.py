"""A user's CSV: ``path,label[,split]``, one image a row; or ``path,labels[,split]`` with any number of labels."""

import csv
import os
from pathlib import Path
from typing import NamedTuple

from transferbench.data.both_sides import held_out
from transferbench.data.own import ALL, own_multi_label_record, own_record
from transferbench.data.random_splits import ranked
from transferbench.data.survey import IMAGE_SUFFIXES, Notes, Survey, some
from transferbench.errors import DatasetError
from transferbench.types.labels import ClassLabels, MultiLabels

SEPARATOR = "|"
"""Between the labels of one image."""

_SPLITS = ("train", "val", "test")
_HEADS = (("path", "label"), ("path", "label", "split"), ("path", "labels"), ("path", "labels", "split"))
_TEST_SHARE, _SEED = 0.4, 1


class _Row(NamedTuple):
    line: int
    path: str
    labels: tuple[str, ...]
    split: str


def survey_own_table(name: str, table: Path) -> Survey:
    """Look at a user's CSV file.

    Parameters
    ----------
    name : str
        For the record that is made up.
    table : Path
        UTF-8, with a header. Paths are relative to the file's folder.

    Returns
    -------
    Survey
        Ids are the paths as written. Without a column ``split``, single labels are divided at random by class, and
        multiple labels once, 40% to test.

    Raises
    ------
    DatasetError
        If the table is not there or not of this form; every bad line is counted, the first is named.
    """
    rows, multiple = _read(table)
    notes = Notes(table.parent)
    gone = [row.path for row in rows if not (table.parent / row.path).is_file()]
    if gone:
        notes.add("missing", some(gone, "image"), table, "correct the path, or remove the row")
    odd = [row.path for row in rows if Path(row.path).suffix.lower() not in IMAGE_SUFFIXES]
    if odd:
        notes.add("wrong", f"{some(odd, 'file')}, no JPEG or PNG by name", table, "convert it, or remove the row")
    by_part: dict[str, tuple[str, ...]] = _parts(rows, multiple=multiple)
    what = f"table {table}"
    if multiple:
        classes = tuple(sorted({label for row in rows for label in row.labels}))
        if len(classes) < 2:
            msg = f"{what}: {len(classes)} class(es); at least two are needed"
            raise DatasetError(msg)
        record = own_multi_label_record(name, classes, {part: len(ids) for part, ids in by_part.items()}, what)
        labels: ClassLabels | MultiLabels = MultiLabels(
            classes=classes,
            by_id={row.path: tuple(1 if c in row.labels else -1 for c in classes) for row in rows},
        )
    else:
        label_of = {row.path: row.labels[0] for row in rows}
        record = own_record(
            name, "own_table", {part: [label_of[i] for i in ids] for part, ids in by_part.items()}, what
        )
        number = {class_name: k for k, class_name in enumerate(record.classes)}
        labels = ClassLabels(classes=record.classes, by_id={i: number[label] for i, label in label_of.items()})
    missing = set(gone)
    return Survey(
        record=record,
        layout=f"own table {table}",
        files={row.path: str(table.parent / row.path) for row in rows if row.path not in missing},
        parts=by_part,
        labels=labels,
        findings=tuple(notes.findings),
    )


def _read(table: Path) -> tuple[list[_Row], bool]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except OSError as problem:
        what = "is a folder, no table" if table.is_dir() else f"cannot be read: {problem.strerror}"
        msg = f"{table}: {what}; write csv:FILE for a table, imagefolder:PATH for class folders"
        raise DatasetError(msg) from problem
    except (UnicodeDecodeError, csv.Error) as problem:
        msg = f"{table}: cannot be read as a CSV file in UTF-8: {problem}. Save it anew as CSV with that encoding."
        raise DatasetError(msg) from problem
    head = tuple(cell.strip() for cell in lines[0]) if lines else ()
    if head not in _HEADS:
        msg = (
            f"{table}: the first line must be path,label or path,label,split (path,labels for several labels, parted "
            f"by {SEPARATOR}), got {','.join(head) or 'nothing'}"
        )
        raise DatasetError(msg)
    multiple = head[1] == "labels"
    rows, problems = [], []
    seen: set[str] = set()
    for number, cells in enumerate(lines[1:], 2):
        if not any(cells):
            continue
        # ./a.jpg is a.jpg: the same image must not be in two parts by two names.
        place = os.path.normpath(table.parent / cells[0])
        fault = _fault(cells, head, twice=place in seen, multiple=multiple)
        if fault:
            problems.append(f"line {number}: {fault}")
            continue
        labels = tuple(part.strip() for part in cells[1].split(SEPARATOR)) if multiple else (cells[1].strip(),)
        rows.append(_Row(number, cells[0], tuple(filter(None, labels)), cells[2].strip() if len(head) == 3 else ""))
        seen.add(place)
    if problems or not rows:
        listed = "\n".join(f"  {line}" for line in problems[:10])
        msg = (
            f"{table}: {len(problems)} bad line(s)\n{listed}"
            if problems
            else f"{table}: has no rows after the first line"
        )
        raise DatasetError(msg)
    return rows, multiple


def _fault(cells: list[str], head: tuple[str, ...], *, twice: bool, multiple: bool) -> str:
    if len(cells) != len(head):
        return f"{len(cells)} cells instead of {len(head)}"
    if not cells[0]:
        return "there is no path"
    if twice:
        return f"{cells[0]} is listed twice; several labels go into one row under the head path,labels"
    if not multiple and not cells[1].strip():
        return f"{cells[0]} has no label"
    if len(head) == 3 and cells[2].strip() not in _SPLITS:
        return f"split must be one of {', '.join(_SPLITS)}, got {cells[2].strip()!r}"
    return ""


def _parts(rows: list[_Row], *, multiple: bool) -> dict[str, tuple[str, ...]]:
    if rows[0].split:
        parts = {split: tuple(row.path for row in rows if row.split == split) for split in _SPLITS}
        if not parts["train"] or not (parts["val"] or parts["test"]):
            msg = "the column split needs rows of train, and rows of test or val"
            raise DatasetError(msg)
        return {split: ids for split, ids in parts.items() if ids}
    if not multiple:
        return {ALL: tuple(row.path for row in rows)}
    number = {label: k for k, label in enumerate(sorted({label for row in rows for label in row.labels}))}
    shown = {row.path: {number[label] for label in row.labels} for row in rows}
    order = ranked(shown, _SEED, 0)
    test = held_out(order, max(1, round(_TEST_SHARE * len(order))), shown, to_rest=2)
    return {"train": tuple(sorted(shown.keys() - test)), "test": tuple(sorted(test))}
