"""ILSVRC-2012: training folders, validation images flat or in folders, the development kit with its own class order.

Two orders of the 1000 classes are in use. This package numbers classes by sorted WordNet id, as released weights do;
the validation ground truth and submissions count by ``ILSVRC2012_ID``, which only the kit's ``meta.mat`` translates.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from transferbench.data.record import DatasetRecord
from transferbench.data.survey import IMAGE_SUFFIXES, Notes, Severity, Survey, some, sorted_entries
from transferbench.errors import DatasetError
from transferbench.types.labels import ClassLabels

BLACKLIST = "blacklist"
"""The part of validation images that the localisation error leaves out."""

_META = ("meta.mat", "meta_clsloc.mat")
_TRUTH = ("ILSVRC2012_validation_ground_truth.txt", "ILSVRC2014_clsloc_validation_ground_truth.txt")
_BLACKLIST = ("ILSVRC2014_clsloc_validation_blacklist.txt", "ILSVRC2012_validation_blacklist.txt")
_KIT_FOLDERS = ("", "ILSVRC2012_devkit_t12/data", "ILSVRC2014_devkit/data", "devkit/data", "data")
_ROOTS = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "ILSVRC2012")
_ANNOTATIONS = ("Annotations/CLS-LOC", "ILSVRC/Annotations/CLS-LOC", "bbox", "annotations")
_VALIDATION_NAME = "ILSVRC2012_val_{:08d}.JPEG"


def survey_ilsvrc(record: DatasetRecord, folder: Path) -> Survey:
    """Look at an ILSVRC-2012 tree.

    Parameters
    ----------
    record : DatasetRecord
        States the WordNet ids, sorted.
    folder : Path
        Holds ``train/`` and ``val/``, and the development kit if ``val/`` is flat; Kaggle's tree is known too.

    Returns
    -------
    Survey
        Ids are ``train/<wnid>/<file>`` and ``val/<file>``, the same for both forms of ``val/``.
    """
    notes = Notes(folder)
    root = next((folder / name for name in _ROOTS if (folder / name / "train").is_dir()), None)
    root = root or next((folder / name for name in _ROOTS if (folder / name / "val").is_dir()), None)
    if root is None:
        notes.add("missing", "neither a folder train nor a folder val", folder, _elsewhere(record, folder))
        return Survey.of_nothing(record, notes)
    number = {wnid: k for k, wnid in enumerate(record.classes)}
    files: dict[str, str] = {}
    by_id: dict[str, int] = {}
    parts: dict[str, tuple[str, ...]] = {}
    for part, found in (
        ("train", _training(root / "train", number, notes)),
        ("val", _validation(root, folder, number, notes)),
    ):
        if found:
            parts[part] = tuple(found)
            files |= {image_id: file for image_id, (file, _) in found.items()}
            by_id |= {image_id: wnid_number for image_id, (_, wnid_number) in found.items()}
    listed = _blacklist(root, folder, set(parts.get("val", ())), notes)
    if listed:
        parts[BLACKLIST] = listed
    annotations = _annotations(root, folder, parts, notes)
    return Survey(
        record=record,
        layout=f"ILSVRC-2012 at {root}",
        files=files,
        parts=parts,
        labels=ClassLabels(classes=record.classes, by_id=by_id),
        annotations=annotations,
        findings=tuple(notes.findings),
    )


def _elsewhere(record: DatasetRecord, folder: Path) -> str:
    """Say where the tree is if another level of it was named, else how to get one."""
    known = set(record.classes)
    if folder.is_dir() and any(entry.name in known for entry in folder.iterdir()):
        return f"this is the folder {folder.name} itself; give --data-dir {folder.parent}"
    for root in _ROOTS:
        below = next(iter(sorted(folder.glob(str(Path("*", root, "train"))))), None)
        if below is not None and any((below / wnid).is_dir() for wnid in known):
            return f"give --data-dir {folder / below.relative_to(folder).parts[0]}"
    return "unpack the archives into it (tb datasets show ilsvrc2012), or give --data-dir"


def kit_order(kit: Path) -> tuple[str, ...]:
    """Read the order of ``ILSVRC2012_ID`` from the development kit.

    Parameters
    ----------
    kit : Path
        Folder that holds ``meta.mat`` or ``meta_clsloc.mat``.

    Returns
    -------
    tuple of str
        WordNet ids of ID 1, 2, …; inner nodes of the hierarchy (with children) are left out.

    Raises
    ------
    DatasetError
        If the file is missing or something else.
    """
    from scipy.io import loadmat  # noqa: PLC0415 - takes a second; only this file needs it

    path = next((kit / name for name in _META if (kit / name).is_file()), kit / _META[0])
    try:
        entries = loadmat(str(path), struct_as_record=False, squeeze_me=True)["synsets"]
        leaves = {int(e.ILSVRC2012_ID): str(e.WNID) for e in entries if int(getattr(e, "num_children", 0)) == 0}
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as problem:
        msg = f"{path}: is not the development kit's table of synsets: {problem}"
        raise DatasetError(msg) from problem
    if sorted(leaves) != list(range(1, len(leaves) + 1)):
        msg = f"{path}: the ids of the classes do not run from 1 to {len(leaves)}"
        raise DatasetError(msg)
    return tuple(leaves[k] for k in sorted(leaves))


def _training(folder: Path, number: dict[str, int], notes: Notes) -> dict[str, tuple[str, int]]:
    if not folder.is_dir():
        notes.add("missing", "there is no folder train", folder, "unpack ILSVRC2012_img_train.tar into it")
        return {}
    return _foldered(folder, number, notes, lambda wnid, name: f"train/{wnid}/{name}")


def _foldered(
    folder: Path, number: dict[str, int], notes: Notes, named: Callable[[str, str], str]
) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for entry in sorted_entries(folder):
        if entry.name not in number or not entry.is_dir():
            packed = entry.suffix == ".tar" and entry.stem in number
            severity: Severity = "missing" if packed else "stray"
            what = "a class that is still packed" if packed else "no class of ILSVRC-2012; not used"
            notes.add(severity, what, entry, "tb datasets fetch unpacks it" if packed else "")
            continue
        for image in sorted_entries(entry):
            if image.suffix.lower() in IMAGE_SUFFIXES:
                found[named(entry.name, image.name)] = (str(image), number[entry.name])
            else:
                notes.add("stray", "no image; not used", image)
    lacking = [wnid for wnid in number if not (folder / wnid).is_dir()]
    if lacking:
        notes.add("missing", some(lacking, "class", "classes"), folder, "unpack the archive again")
    return found


def _validation(root: Path, top: Path, number: dict[str, int], notes: Notes) -> dict[str, tuple[str, int]]:
    folder = root / "val"
    if not folder.is_dir():
        notes.add("missing", "there is no folder val", folder, "unpack ILSVRC2012_img_val.tar into it")
        return {}
    images = [entry for entry in sorted_entries(folder) if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
    folders = [entry for entry in folder.iterdir() if entry.is_dir() and entry.name in number]
    if images and folders:
        what = f"images both at the top ({len(images):,}) and in {len(folders):,} class folders"
        notes.add("wrong", what, folder, "keep one form")
    truth = _ground_truth(root, top, notes, needed=bool(images))
    if folders:
        found = _foldered(folder, number, notes, lambda _wnid, name: f"val/{name}")
        moved = [i for i, (_, k) in found.items() if i in truth and number.get(truth[i]) != k]
        if moved:
            notes.add(
                "wrong",
                f"{some(moved, 'image')}, in a folder that is not its class by the kit",
                folder,
                "sort val anew",
            )
        return found
    unknown = [image.name for image in images if f"val/{image.name}" not in truth]
    if unknown and truth:
        notes.add("wrong", f"{some(unknown, 'image')}, not in the kit's ground truth", folder, "unpack val again")
    return {
        f"val/{image.name}": (str(image), number[truth[f"val/{image.name}"]])
        for image in images
        if f"val/{image.name}" in truth and truth[f"val/{image.name}"] in number
    }


def _kit(root: Path, folder: Path) -> Path | None:
    bases = [base for base in (root, *root.parents) if base.is_relative_to(folder)]
    places = [base / name for base in bases for name in _KIT_FOLDERS]
    return next((place for place in places if any((place / name).is_file() for name in _META)), None)


def _ground_truth(root: Path, folder: Path, notes: Notes, *, needed: bool) -> dict[str, str]:
    """Map validation ids to WordNet ids; empty without a kit, which a flat ``val/`` needs."""
    kit = _kit(root, folder)
    if kit is None:
        if needed:
            todo = "unpack ILSVRC2012_devkit_t12.tar.gz beside val, or sort val into class folders"
            notes.add("missing", "val is flat and there is no development kit that labels it", root / "val", todo)
        return {}
    path = next((kit / name for name in _TRUTH if (kit / name).is_file()), kit / _TRUTH[0])
    try:
        order = kit_order(kit)
        numbers = [int(line) for line in path.read_text(encoding="utf-8").split()]
        beyond = next((k for k, number in enumerate(numbers, 1) if not 1 <= number <= len(order)), None)
        if beyond is not None:  # 0 would otherwise be the last class, and a list that counts from 0 wrong everywhere
            msg = f"line {beyond} is {numbers[beyond - 1]}, and ids count from 1 to {len(order)}"
            raise DatasetError(msg)
        return {f"val/{_VALIDATION_NAME.format(k)}": order[number - 1] for k, number in enumerate(numbers, 1)}
    except (DatasetError, OSError, UnicodeDecodeError, ValueError) as problem:
        if needed:
            notes.add("corrupt", f"the ground truth cannot be used: {problem}", path, "unpack the kit again")
        return {}


def _blacklist(root: Path, folder: Path, validation: set[str], notes: Notes) -> tuple[str, ...]:
    kit = _kit(root, folder)
    path = next((kit / name for name in _BLACKLIST if (kit / name).is_file()), None) if kit else None
    if path is None:
        return ()
    try:
        ids = [f"val/{_VALIDATION_NAME.format(int(line))}" for line in path.read_text(encoding="utf-8").split()]
    except (OSError, UnicodeDecodeError, ValueError) as problem:
        notes.add("corrupt", f"the blacklist cannot be read: {problem}", path, "unpack the kit again")
        return ()
    notes.add("info", f"{len(ids):,} validation images that the localisation error leaves out", path)
    return tuple(i for i in ids if i in validation)


def _annotations(root: Path, folder: Path, parts: Mapping[str, tuple[str, ...]], notes: Notes) -> dict[str, str]:
    """Find the files with boxes; most training images have none."""
    bases = [base for base in (root, *root.parents) if base.is_relative_to(folder)]
    place = next((base / name for base in bases for name in _ANNOTATIONS if (base / name).is_dir()), None)
    if place is None:
        return {}
    found: dict[str, str] = {}
    for part in ("train", "val"):
        listed: dict[str, set[str]] = {}  # of a folder the names in it: half a million files are not looked at singly
        mine = {}
        for image_id in parts.get(part, ()):
            where, _, name = image_id.rpartition("/")
            if where not in listed:
                listed[where] = (
                    {entry.name for entry in os.scandir(place / where)} if (place / where).is_dir() else set()
                )
            annotation = f"{name.rpartition('.')[0]}.xml"
            if annotation in listed[where]:
                mine[image_id] = f"{place}/{where}/{annotation}"
        if part in parts:
            notes.add("info", f"boxes of {len(mine):,} of {len(parts[part]):,} images of {part}", place / part)
        found |= mine
    return found
