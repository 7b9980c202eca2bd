"""COCO's instance annotations as labels of whole images.

A category is present (+1) if an object of it is outlined on its own, left out (0) if there are only crowd regions of it
("a group of"), which is how VOC treats objects that are too difficult, and absent (-1) otherwise.
"""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from transferbench.data.record import DatasetRecord
from transferbench.data.survey import Notes, Severity, Survey, some
from transferbench.types.labels import MultiLabels


def survey_coco(record: DatasetRecord, folder: Path) -> Survey:
    """Look at a COCO tree: ``annotations/instances_<part>.json`` and ``<part>/`` or ``images/<part>/``.

    Parameters
    ----------
    record : DatasetRecord
        Its parts are COCO's, for instance ``train2014``; its classes are the category names by ascending category id
        (the ids themselves have gaps).
    folder : Path
        Holds both.

    Returns
    -------
    Survey
        Ids are ``<part>/<file name>``.
    """
    notes = Notes(folder)
    files: dict[str, str] = {}
    by_id: dict[str, tuple[int, ...]] = {}
    parts: dict[str, tuple[str, ...]] = {}
    for part, stated in record.parts.items():
        path = folder / "annotations" / f"instances_{part}.json"
        if not path.is_file():
            severity: Severity = "missing" if stated.needed else "info"
            notes.add(severity, f"there are no annotations of {part}", path, "unpack the annotations")
            continue
        labels = _labels(path, record, notes)
        parts[part] = tuple(f"{part}/{name}" for name in sorted(labels))
        by_id |= {f"{part}/{name}": row for name, row in labels.items()}
        files |= _files(folder, part, set(labels), notes)
    if not parts:
        return Survey.of_nothing(record, notes)
    return Survey(
        record=record,
        layout=f"COCO at {folder}",
        files=files,
        parts=parts,
        labels=MultiLabels(classes=record.classes, by_id=by_id),
        findings=tuple(notes.findings),
    )


def _labels(path: Path, record: DatasetRecord, notes: Notes) -> dict[str, tuple[int, ...]]:
    coco = _load(path, notes)
    if coco is None:
        return {}
    categories = coco.loadCats(sorted(coco.getCatIds()))
    names = tuple(category["name"] for category in categories)
    if names != record.classes:
        other = sorted(set(names) ^ set(record.classes)) or ["the order"]
        what = f"the categories are not those of the record: {', '.join(other[:3])}"
        notes.add("wrong", what, path, "unpack the annotations again")
        return {}
    number = {category["id"]: k for k, category in enumerate(categories)}
    labels: dict[str, tuple[int, ...]] = {}
    for image_id in sorted(coco.getImgIds()):
        row = [-1] * len(names)
        for found in coco.loadAnns(coco.getAnnIds(imgIds=[image_id])):
            k = number[found["category_id"]]
            row[k] = 1 if not found.get("iscrowd", 0) or row[k] == 1 else 0
        labels[coco.loadImgs([image_id])[0]["file_name"]] = tuple(row)
    return labels


def _load(path: Path, notes: Notes) -> Any | None:
    from pycocotools.coco import COCO  # noqa: PLC0415 - brings matplotlib along

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it tells its progress on stdout, which is for data
            coco = COCO(str(path))
        complete = all(key in coco.dataset for key in ("images", "annotations", "categories"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, AssertionError, KeyError, TypeError) as problem:
        notes.add("corrupt", f"the annotations cannot be read: {problem}", path, "unpack the annotations again")
        return None
    if not complete:
        notes.add("corrupt", "the annotations lack images, annotations or categories", path, "unpack them again")
        return None
    return coco


def _files(folder: Path, part: str, names: set[str], notes: Notes) -> dict[str, str]:
    root = next((p for p in (folder / part, folder / "images" / part) if p.is_dir()), folder / part)
    there = {entry.name: str(entry) for entry in root.iterdir()} if root.is_dir() else {}
    missing, extra = sorted(names - there.keys()), sorted(there.keys() - names)
    if missing:
        notes.add("missing", some(missing, "image"), root, f"unpack {part}.zip")
    if extra:
        notes.add("stray", f"{some(extra, 'file')}, not in the annotations; not used", root)
    return {f"{part}/{name}": there[name] for name in sorted(names & there.keys())}
