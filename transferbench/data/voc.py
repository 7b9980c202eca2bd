"""Trees of the VOC development kit: image lists, a label file per class and list, people with boxes and actions."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from transferbench.data.annotations import Annotation, read_annotation
from transferbench.data.layouts import VocActionLayout, VocLayout
from transferbench.data.people import image_of, person_id
from transferbench.data.record import DatasetRecord, Part
from transferbench.data.survey import Notes, Severity, Survey, assemble_labels, some
from transferbench.errors import DatasetError
from transferbench.types.regions import Box

_LABELS = {"1": 1, "-1": -1, "0": 0}
Rows = dict[str, list[int | None]]


class _Form(NamedTuple):
    """What a line of a list looks like, and how many words that may be."""

    text: str
    words: tuple[int, ...]


_ID = _Form("<image id>", (1,))
_LABEL = _Form("<image id> <label>", (2,))
_PERSON = _Form("<image id> <object index> <label>", (3,))
_TEST_PERSON = _Form("<image id> <object index>", (2, 3))


def survey_voc(record: DatasetRecord, folder: Path) -> Survey:
    """Look at a VOC tree as a classification dataset.

    A label is +1 (at least one object that is not difficult), -1 (none) or 0 (only difficult ones), as the class's own
    file says. The class *train* has files such as ``train_train.txt``, so every file name is built, none is guessed.

    Parameters
    ----------
    record : DatasetRecord
        What it should be, in the layout ``voc``.
    folder : Path
        The folder itself, one above it, or the folder that holds ``VOCdevkit``. Trees that were unpacked into several
        folders are read as one.

    Returns
    -------
    Survey
        Ids are the image ids, as text: ``000012`` is not 12.
    """
    layout, notes = record.layout, Notes(folder)
    assert isinstance(layout, VocLayout)  # noqa: S101 - the layout chose this function
    tree = _Tree.find(folder, layout.folder, "Main", notes)
    if tree is None:
        return Survey.of_nothing(record, notes)
    parts, rows = _read_parts(tree, record, _listed)
    images = _images(tree, sorted({i for ids in parts.values() for i in ids}), other_tasks=layout.holds_other_tasks)
    return Survey(
        record=record,
        layout=tree.sentence,
        files=images,
        parts=parts,
        labels=assemble_labels(record, rows),
        findings=tuple(notes.findings),
    )


def survey_voc_action(record: DatasetRecord, folder: Path) -> Survey:
    """Look at a VOC tree as a dataset of people and their actions.

    Parameters
    ----------
    record : DatasetRecord
        What it should be, in the layout ``voc_action``.
    folder : Path
        As for `survey_voc`.

    Returns
    -------
    Survey
        Ids are people: ``2010_006088#1`` is the first object of that image's annotation, counted over all objects.
    """
    layout, notes = record.layout, Notes(folder)
    assert isinstance(layout, VocActionLayout)  # noqa: S101 - the layout chose this function
    tree = _Tree.find(folder, layout.folder, "Action", notes)
    if tree is None:
        return Survey.of_nothing(record, notes)
    parts, rows = _read_parts(tree, record, _people)
    everyone = sorted({person for ids in parts.values() for person in ids})
    images = _images(tree, sorted({image_of(person) for person in everyone}), other_tasks=True)
    boxes = _boxes(tree, everyone)
    return Survey(
        record=record,
        layout=tree.sentence,
        files={person: images[image_of(person)] for person in everyone if image_of(person) in images},
        parts=parts,
        labels=assemble_labels(record, rows),
        boxes=boxes,
        findings=tuple(notes.findings),
    )


class _Tree:
    """One year's folder, or several that belong together: trainval and test are distributed apart."""

    def __init__(self, roots: list[Path], lists: str, notes: Notes) -> None:
        self.roots, self.lists, self.notes = roots, lists, notes

    @classmethod
    def find(cls, folder: Path, name: str, lists: str, notes: Notes) -> "_Tree | None":
        """Find the folders of a year; note what is there instead."""
        marker = Path("ImageSets") / lists
        candidates = [folder, folder / name, folder / "VOCdevkit" / name, folder / "TrainVal" / "VOCdevkit" / name]
        candidates += sorted(folder.glob(f"*/VOCdevkit/{name}")) + sorted(folder.glob(f"*/{name}"))
        roots = [path for path in dict.fromkeys(candidates) if (path / marker).is_dir()]
        if roots and roots[0] == folder and folder.name.startswith("VOC2") and folder.name != name:
            notes.add("wrong", f"this is {folder.name}, not {name}", folder, f"give the folder that holds {name}")
            return None
        if not roots:
            others = sorted(path.name for path in folder.glob("VOCdevkit/VOC*")) if folder.is_dir() else []
            there = f"; there is {', '.join(others)}" if others else ""
            notes.add(
                "missing",
                f"no {name} tree (a folder {name} with {marker} in it){there}",
                folder,
                "tb datasets fetch, or --data-dir with the folder that holds VOCdevkit",
            )
            return None
        return cls(roots, lists, notes)

    @property
    def sentence(self) -> str:
        """What was recognised."""
        return f"VOC development kit at {', '.join(str(root) for root in self.roots)}"

    def file(self, relative: str) -> Path:
        """Return the first existing file of that place, or where it should be."""
        paths = [root / relative for root in self.roots]
        return next((path for path in paths if path.is_file()), paths[0])

    def list_path(self, name: str) -> Path:
        """Return where a list is."""
        return self.file(f"ImageSets/{self.lists}/{name}.txt")

    def read_list(self, name: str, part: Part, form: _Form) -> list[tuple[str, ...]] | None:
        """Read a list; note what is wrong with it. None if it is not there."""
        path = self.list_path(name)
        if not path.is_file():
            severity: Severity = "missing" if part.needed else "info"
            todo = "unpack the archive that holds it (tb datasets show)" if part.needed else ""
            self.notes.add(severity, f"there is no list {name}.txt", path, todo)
            return None
        return _words(path, form, self.notes)


_Members = Callable[[_Tree, DatasetRecord, str, tuple[str, ...]], tuple[str, ...]]
"""From the listed images of a part, by its name: the ids of its members, images or people."""


def _words(path: Path, form: _Form, notes: Notes) -> list[tuple[str, ...]]:
    """Read a file of blank-separated words, whatever its line ends; only the good lines are returned."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        notes.add("corrupt", f"the list cannot be read: {problem}", path, "unpack it again")
        return []
    lines = [(number, tuple(line.split())) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    bad = [number for number, words in lines if len(words) not in form.words]
    if bad:
        more = f" (and {len(bad) - 1} more lines)" if len(bad) > 1 else ""
        notes.add("corrupt", f"line {bad[0]} is not `{form.text}`{more}", path, "unpack it again")
    return [words for _, words in lines if len(words) in form.words]


def _read_parts(tree: _Tree, record: DatasetRecord, members: _Members) -> tuple[dict[str, tuple[str, ...]], Rows]:
    """Read the list of every part, and the labels of its members."""
    parts: dict[str, tuple[str, ...]] = {}
    rows: Rows = {}
    for name, part in record.parts.items():
        listed = tree.read_list(name, part, _ID)
        if listed is None:
            continue
        parts[name] = members(tree, record, name, tuple(image_id for (image_id,) in listed))
        if part.labelled:
            _read_classes(tree, record, name, parts[name], rows)
    return parts, rows


def _read_classes(tree: _Tree, record: DatasetRecord, name: str, ids: tuple[str, ...], rows: Rows) -> None:
    """Read the label file of every class for one list, and hold them against the list."""
    part = record.parts[name]
    for number, class_name in enumerate(record.classes):
        path = tree.file(f"ImageSets/{tree.lists}/{class_name}_{name}.txt")
        if not path.is_file():
            if part.needed:
                tree.notes.add("missing", f"class {class_name} has no labels for {name}", path, "unpack it again")
            continue
        labels = _labels(tree, path)
        absent, extra = sorted(set(ids) - labels.keys()), sorted(labels.keys() - set(ids))
        if absent:
            what = f"class {class_name} has no label of {some(absent, 'id')} of {name}"
            tree.notes.add("wrong", what, path, "unpack it again")
        if extra:
            what = f"class {class_name} has labels of {some(extra, 'id')}, not in {name}.txt"
            tree.notes.add("wrong", what, path, "unpack it again")
        changed = []
        for image_id, label in labels.items():
            row = rows.setdefault(image_id, [None] * len(record.classes))
            if row[number] not in {None, label}:
                changed.append(image_id)
            row[number] = label
        if changed:
            what = f"class {class_name}: {some(sorted(changed), 'label')}, differs from that in another list"
            tree.notes.add("wrong", what, path, "unpack it again")


def _labels(tree: _Tree, path: Path) -> dict[str, int]:
    person = tree.lists == "Action"
    labels: dict[str, int] = {}
    bad: list[str] = []
    for words in _words(path, _PERSON if person else _LABEL, tree.notes):
        key = person_id(words[0], words[1]) if person else words[0]
        if words[-1] not in _LABELS or key in labels:
            bad.append(key)
        labels[key] = _LABELS.get(words[-1], 0)
    if bad:
        what = f"{some(bad, 'id')}, repeated, or with a label that is not 1, -1 or 0"
        tree.notes.add("corrupt", what, path, "unpack it again")
    return labels


def _listed(tree: _Tree, _record: DatasetRecord, name: str, images: tuple[str, ...]) -> tuple[str, ...]:
    """Take the images of a part as its list gives them."""
    _report_repeated(images, tree.list_path(name), tree.notes)
    return images


def _people(tree: _Tree, record: DatasetRecord, name: str, images: tuple[str, ...]) -> tuple[str, ...]:
    """List the people of a part, by the first class that has a file; the other classes are held against it."""
    part = record.parts[name]
    path = tree.file(f"ImageSets/{tree.lists}/{record.classes[0]}_{name}.txt")
    if not path.is_file():
        if part.needed:
            tree.notes.add("missing", f"action {record.classes[0]} has no list for {name}", path, "unpack it again")
        return ()
    lines = _words(path, _PERSON if part.labelled else _TEST_PERSON, tree.notes)
    people = tuple(person_id(words[0], words[1]) for words in lines)
    _report_repeated(people, path, tree.notes)
    apart = sorted({words[0] for words in lines} ^ set(images))
    if apart:
        tree.notes.add("wrong", f"{some(apart, 'image')}, in only one of {name}.txt and this list", path)
    return tuple(dict.fromkeys(people))


def _boxes(tree: _Tree, people: Iterable[str]) -> dict[str, Box]:
    boxes: dict[str, Box] = {}
    annotations: dict[str, Annotation | None] = {}
    lost: list[str] = []
    for person in people:
        image_id, _, index = person.rpartition("#")
        if image_id not in annotations:
            annotations[image_id] = _annotation(tree, image_id)
        annotation = annotations[image_id]
        if annotation is None:
            continue
        number = int(index) if index.isdecimal() else 0
        if not 1 <= number <= len(annotation.objects) or annotation.objects[number - 1].name != "person":
            lost.append(person)
            continue
        boxes[person] = annotation.objects[number - 1].box
    # Without the archive of the test images all of theirs are missing: one finding, not thousands.
    gone = [f"{i}.xml" for i, annotation in annotations.items() if annotation is None and not _xml(tree, i).is_file()]
    if gone:
        todo = "unpack the archive that holds them (tb datasets show)"
        tree.notes.add("missing", some(gone, "annotation"), tree.roots[0] / "Annotations", todo)
    if lost:
        what = f"{some(lost, 'person', 'people')}, whose object index is no person in the annotation"
        tree.notes.add("wrong", what, tree.roots[0] / "Annotations", "unpack Annotations again")
    return boxes


def _xml(tree: _Tree, image_id: str) -> Path:
    return tree.file(f"Annotations/{image_id}.xml")


def _annotation(tree: _Tree, image_id: str) -> Annotation | None:
    """Read the annotation of an image; None if it is not there, or damaged, which is noted."""
    path = _xml(tree, image_id)
    try:
        return read_annotation(path)
    except DatasetError as problem:
        if path.is_file():
            tree.notes.add("corrupt", str(problem).removeprefix(f"{path}: "), path, "unpack it again")
        return None


def _images(tree: _Tree, ids: list[str], *, other_tasks: bool) -> dict[str, str]:
    """Find the image of every id; note those that are not there, and files that no list names."""
    there: dict[str, str] = {}
    for root in reversed(tree.roots):
        folder = root / "JPEGImages"
        if folder.is_dir():
            there.update({entry.name: str(entry) for entry in folder.iterdir()})
    wanted = {f"{image_id}.jpg": image_id for image_id in ids}
    missing = sorted(wanted.keys() - there.keys())
    if missing:
        todo = "unpack the archive that holds them (tb datasets show)"
        tree.notes.add("missing", some(missing, "image"), tree.roots[0] / "JPEGImages", todo)
    extra = sorted(there.keys() - wanted.keys())
    strays = [name for name in extra if not (other_tasks and name.endswith(".jpg"))]
    if strays:
        what = f"{some(strays, 'file')}, in no list; not used"
        tree.notes.add("stray", what, Path(there[strays[0]]).parent)
    if len(extra) > len(strays):
        what = f"{len(extra) - len(strays):,} images of other tasks; not used"
        tree.notes.add("info", what, tree.roots[0] / "JPEGImages")
    return {wanted[name]: there[name] for name in sorted(wanted.keys() & there.keys())}


def _report_repeated(ids: tuple[str, ...], path: Path, notes: Notes) -> None:
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        repeated = [i for i in ids if i in seen or seen.add(i)]  # type: ignore[func-returns-value]
        notes.add("wrong", f"{some(repeated, 'id')}, listed twice", path, "unpack it again")
