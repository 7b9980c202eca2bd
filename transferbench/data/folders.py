"""A folder of images per class: Caltech-101, Caltech-256, and the user's own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from transferbench.data.layouts import ClassFoldersLayout
from transferbench.data.own import ALL, own_record
from transferbench.data.record import DatasetRecord
from transferbench.data.survey import IMAGE_SUFFIXES, Notes, Survey, is_image, some, sorted_entries
from transferbench.errors import DatasetError
from transferbench.types.labels import ClassLabels

_PART_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class _Image(NamedTuple):
    file: str
    class_name: str


Images = dict[str, _Image]


def survey_class_folders(record: DatasetRecord, folder: Path) -> Survey:
    """Look at a tree of class folders whose classes are known.

    Only regular files with an image's suffix count, directly in a class's folder: both Caltech sets hold stray files,
    and Caltech-256 a folder within a class.

    Parameters
    ----------
    record : DatasetRecord
        States the classes, background and clutter among them; in the layout ``class_folders``.
    folder : Path
        That folder, or one up to two levels above it.

    Returns
    -------
    Survey
        Ids are ``<class>/<file>``.
    """
    layout, notes = record.layout, Notes(folder)
    assert isinstance(layout, ClassFoldersLayout)  # noqa: S101 - the layout chose this function
    known = set(record.classes)
    candidates = [folder / layout.folder, *sorted(folder.glob(f"*/{layout.folder}")), folder]
    root = next((p for p in candidates if p.is_dir() and any(e.name in known for e in p.iterdir())), None)
    if root is None:
        todo = f"tb datasets fetch, or --data-dir with the folder that holds {layout.folder}"
        notes.add("missing", f"no folder {layout.folder} with class folders in it", folder, todo)
        return Survey.of_nothing(record, notes)
    images: Images = {}
    for entry in sorted_entries(root):
        if entry.name in known and entry.is_dir():
            images |= _images_of_class(entry, root, notes, nested=False)
        elif entry.is_dir() and not entry.name.startswith("."):
            notes.add("wrong", f"{entry.name} is no class of {record.name}", entry, "move it out of this folder")
        else:
            notes.add("stray", "beside the class folders; not used", entry)
    lacking = [name for name in record.classes if not (root / name).is_dir()]
    if lacking:
        notes.add("missing", some(lacking, "class", "classes"), root, "unpack the archive again")
    return _survey(record, f"class folders at {root}", {ALL: images}, notes)


def survey_own_folder(name: str, folder: Path) -> Survey:
    """Look at a user's folder: ``<class>/…/*.jpg``, or ``{train,val,test}/<class>/…/*.jpg``.

    Parameters
    ----------
    name : str
        For the record that is made up.
    folder : Path
        The folder.

    Returns
    -------
    Survey
        With a record that states what was found. Ids are paths relative to the folder.

    Raises
    ------
    DatasetError
        If the folder is not there, has fewer than two classes, or too few images of one.
    """
    if not folder.is_dir():
        what = "is a file; a table is csv:PATH" if folder.is_file() else "there is no such folder"
        msg = f"{folder}: {what}; write imagefolder:PATH with a folder that holds one folder per class"
        raise DatasetError(msg)
    notes = Notes(folder)
    by_part = _own_parts(folder, notes)
    _require_utf8(folder, by_part)
    _require_right_level(folder, by_part)
    classes = {part: [image.class_name for image in images.values()] for part, images in by_part.items()}
    record = own_record(name, "own_folder", classes, f"folder {folder}")
    return _survey(record, f"own folder {folder}", by_part, notes)


def _require_utf8(folder: Path, by_part: dict[str, Images]) -> None:
    """Ids go into hashes and documents, which are UTF-8; other names would be other names on another machine."""
    names = [str(folder), *(image_id for images in by_part.values() for image_id in images)]
    odd = [name for name in names if not name.isascii() and name.encode(errors="replace").decode() != name]
    if odd:
        msg = f"{str(folder)!a}: {len(odd):,} name(s) are not UTF-8, the first is {odd[0]!a}; rename them"
        raise DatasetError(msg)


def _require_right_level(folder: Path, by_part: dict[str, Images]) -> None:
    """Refuse a folder whose only folder holds the class folders: that one was meant."""
    inner = {image_id.split("/")[0] for image_id in by_part.get(ALL, {})}
    deeper = {image_id.split("/")[1] for image_id in by_part.get(ALL, {}) if image_id.count("/") > 1}
    if len(inner) == 1 and len(deeper) > 1:
        within = folder / inner.pop()
        msg = f"{folder}: holds one folder, and the class folders are in that one.\n  Write imagefolder:{within}"
        raise DatasetError(msg)


def _own_parts(folder: Path, notes: Notes) -> dict[str, Images]:
    folders = [entry for entry in sorted_entries(folder) if entry.is_dir() and not entry.name.startswith(".")]
    in_part = [entry for entry in folders if entry.name in _PART_NAMES]
    named = {_PART_NAMES[entry.name]: entry for entry in in_part}
    if len(named) < len(in_part):
        msg = f"{folder}: {', '.join(entry.name for entry in in_part)} name a part twice; keep one of them"
        raise DatasetError(msg)
    if "train" not in named:
        return {ALL: _classes_in(folder, folder, notes)}
    if named.keys() == {"train"}:
        msg = f"{folder}: has a folder train but neither test nor val; add one, or put the class folders at the top"
        raise DatasetError(msg)
    beside = [entry.name for entry in folders if entry.name not in _PART_NAMES]
    if beside:
        notes.add("stray", f"{some(beside, 'folder')}, beside train; not used", folder)
    return {part: _classes_in(path, folder, notes) for part, path in named.items()}


def _classes_in(folder: Path, root: Path, notes: Notes) -> Images:
    images: Images = {}
    for entry in sorted_entries(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            images |= _images_of_class(entry, root, notes, nested=True)
        else:
            notes.add("stray", "beside the class folders; not used", entry)
    return images


def _images_of_class(folder: Path, root: Path, notes: Notes, *, nested: bool) -> Images:
    images: Images = {}
    entries = sorted(_files_below(folder)) if nested else sorted_entries(folder)
    for entry in entries:
        if is_image(entry):
            images[entry.relative_to(root).as_posix()] = _Image(str(entry), folder.name)
        elif not entry.name.startswith("."):
            kind = "a folder within a class" if entry.is_dir() else f"no {' or '.join(sorted(IMAGE_SUFFIXES))} file"
            notes.add("stray", f"{kind}; not used", entry)
    if not images:
        notes.add("missing", f"class {folder.name} has no image", folder, "unpack again, or remove the class")
    return images


def _files_below(folder: Path) -> Iterator[Path]:
    """Walk through a class: linked folders are followed, each once, hidden ones (editors keep copies there) are not."""
    seen: set[str] = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:
            seen.add(real)
            yield from (Path(where, name) for name in names)


def _survey(record: DatasetRecord, layout: str, by_part: dict[str, Images], notes: Notes) -> Survey:
    everything = {image_id: image for images in by_part.values() for image_id, image in images.items()}
    number = {name: k for k, name in enumerate(record.classes)}
    return Survey(
        record=record,
        layout=layout,
        files={image_id: image.file for image_id, image in everything.items()},
        parts={part: tuple(images) for part, images in by_part.items()},
        labels=ClassLabels(
            classes=record.classes,
            by_id={image_id: number[image.class_name] for image_id, image in everything.items()},
        ),
        findings=tuple(notes.findings),
    )
