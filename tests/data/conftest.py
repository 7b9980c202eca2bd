"""Small trees in the official layouts, built from the photographs that ship with scikit-learn, traps included.

Records are the shipped ones with other counts, written to a folder that TB_DATASETS names: the checks stay what they are.
"""

import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_sample_images

from transferbench import builtin
from transferbench.cli import main


@pytest.fixture(scope="session")
def photographs():
    return [Image.fromarray(pixels) for pixels in load_sample_images().images]


@pytest.fixture
def photo(photographs) -> Callable[..., bytes]:
    """Return the bytes of a small picture: a crop whose place follows from a number."""

    def make(seed: int, *, mode: str = "RGB", size: tuple[int, int] = (48, 40), format: str = "JPEG") -> bytes:  # noqa: A002
        rng = np.random.default_rng(seed)
        whole = photographs[seed % len(photographs)]
        left, top = (int(rng.integers(0, limit - side)) for limit, side in zip(whole.size, size, strict=True))
        file = io.BytesIO()
        whole.crop((left, top, left + size[0], top + size[1])).convert(mode).save(file, format)
        return file.getvalue()

    return make


@pytest.fixture
def call(tmp_path, monkeypatch) -> Callable[..., SimpleNamespace]:
    """Run the command line in this process, in the same work folder as `tb`: what it prints is what counts here."""
    monkeypatch.setenv("TB_HOME", str(tmp_path / "home"))

    def run(*arguments: object) -> SimpleNamespace:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return SimpleNamespace(code=result.exit_code, out=result.stdout, err=result.stderr)

    return run


@pytest.fixture
def record(tmp_path, monkeypatch) -> Callable[..., Path]:
    """Change some keys of a record, in a copy that is found before the shipped one; None removes a key."""
    folder = tmp_path / "records"
    folder.mkdir()
    monkeypatch.setenv("TB_DATASETS", str(folder))

    def write(name: str, **changes: Any) -> Path:
        target = folder / name
        if not target.exists():
            shutil.copytree(builtin.folder("datasets") / name, target)
        content = yaml.safe_load((target / "dataset.yaml").read_text(encoding="utf-8")) | changes
        content = {key: value for key, value in content.items() if value is not None}
        (target / "dataset.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return target

    return write


@dataclass
class VocTree:
    folder: Path
    classes: tuple[str, ...]
    lists: dict[str, list[str]] = field(default_factory=dict)
    labels: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return next((self.folder / "VOCdevkit").glob("VOC*"))

    def counts(self, part: str) -> dict[str, list[int]]:
        rows = [self.labels[i] for i in self.lists[part]]
        return {
            name: [sum(row[k] == 1 for row in rows), sum(row[k] == 0 for row in rows)]
            for k, name in enumerate(self.classes)
        }


VOC_CLASSES = ("cat", "person", "train")


def write_lists(tree: VocTree, root: Path, parts: Sequence[str], end: str = "\n") -> None:
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    for part in parts:
        ids = tree.lists[part]
        (lists / f"{part}.txt").write_bytes("".join(f"{i}{end}" for i in ids).encode())
        for k, name in enumerate(tree.classes):
            lines = "".join(f"{i} {tree.labels[i][k]:2d}{end}" for i in ids)
            (lists / f"{name}_{part}.txt").write_bytes(lines.encode())


@pytest.fixture
def voc2007(tmp_path, photo, record) -> VocTree:
    """VOCdevkit/VOC2007: classes cat, person and train; difficult-only labels; a grey and a CMYK photograph."""
    tree = VocTree(tmp_path / "voc", VOC_CLASSES)
    ids = [f"{k:06d}" for k in range(1, 37)]
    tree.lists = {"train": ids[:12], "val": ids[12:24], "trainval": ids[:24], "test": ids[24:]}
    rng = np.random.default_rng(2007)
    for i in ids:
        row = rng.choice([1, -1, -1, 0], size=3)
        row[int(rng.integers(3))] = 1  # every image shows something
        tree.labels[i] = tuple(int(v) for v in row)
    root = tree.folder / "VOCdevkit" / "VOC2007"
    write_lists(tree, root, tuple(tree.lists))
    (root / "JPEGImages").mkdir()
    for k, i in enumerate(ids):
        mode = {3: "L", 5: "CMYK"}.get(k, "RGB")
        (root / "JPEGImages" / f"{i}.jpg").write_bytes(photo(k, mode=mode))
    parts = {name: {"images": len(members), "use": "as named"} for name, members in tree.lists.items()}
    parts["trainval"]["needed"] = False
    record(
        "voc2007",
        classes=list(VOC_CLASSES),
        parts=parts,
        class_counts={part: tree.counts(part) for part in tree.lists},
        archives=[],
    )
    return tree


@pytest.fixture
def voc2012(tmp_path, photo, record) -> VocTree:
    """VOC2012 with the test images unpacked apart, and an image that only other tasks use."""
    tree = VocTree(tmp_path / "voc", VOC_CLASSES)
    ids = [f"{2008 + k % 3}_{k:06d}" for k in range(1, 31)]
    tree.lists = {"train": sorted(ids[:10]), "val": sorted(ids[10:20]), "test": sorted(ids[20:])}
    rng = np.random.default_rng(2012)
    for i in ids:
        tree.labels[i] = tuple(int(v) for v in rng.choice([1, -1], size=3))
    root = tree.folder / "VOCdevkit" / "VOC2012"
    write_lists(tree, root, ("train", "val"))
    apart = tree.folder / "test" / "VOCdevkit" / "VOC2012"
    (apart / "ImageSets" / "Main").mkdir(parents=True)
    (apart / "ImageSets" / "Main" / "test.txt").write_text("".join(f"{i}\n" for i in tree.lists["test"]))
    for place, members in ((root, ids[:20]), (apart, ids[20:])):
        (place / "JPEGImages").mkdir()
        for k, i in enumerate(members):
            (place / "JPEGImages" / f"{i}.jpg").write_bytes(photo(k + len(members)))
    (root / "JPEGImages" / "2007_000001.jpg").write_bytes(photo(99))
    shipped = yaml.safe_load((builtin.folder("datasets") / "voc2012" / "dataset.yaml").read_text())
    parts = shipped["parts"]
    del parts["trainval"]
    for name in parts:
        parts[name]["images"] = len(tree.lists[name])
    record(
        "voc2012",
        classes=list(VOC_CLASSES),
        parts=parts,
        class_counts={part: tree.counts(part) for part in ("train", "val")},
        archives=[],
    )
    return tree


def person_xml(image_id: str, objects: Sequence[str]) -> str:
    return f"<annotation><filename>{image_id}.jpg</filename>{''.join(objects)}</annotation>"


def voc_object(name: str, box: Sequence[object], *, actions: str = "", parts: str = "") -> str:
    """An object in the order of the action files: parts first, xmax before xmin."""
    xmin, ymin, xmax, ymax = box
    edges = f"<xmax>{xmax}</xmax><xmin>{xmin}</xmin><ymax>{ymax}</ymax><ymin>{ymin}</ymin>"
    return f"<object>{parts}<name>{name}</name><bndbox>{edges}</bndbox>{actions}</object>"


HEAD_PART = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"


@pytest.fixture
def voc_action(tmp_path, photo, record) -> SimpleNamespace:
    """People of VOC2012: objects that are no people before them, two people in one image, a fraction, parts.

    Every action has positives and negatives in every part, and a person of a label 0; the test people have no labels.
    """
    root = tmp_path / "voc" / "VOCdevkit" / "VOC2012"
    actions = ("jumping", "reading")
    sizes = {"train": 8, "val": 8, "test": 5}
    images = {
        part: [f"2010_{1000 * p + k:06d}" for k in range(1, n + 1)] for p, (part, n) in enumerate(sizes.items(), 1)
    }
    (root / "Annotations").mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    (root / "ImageSets" / "Action").mkdir(parents=True)
    people: dict[str, list[str]] = {}
    boxes: dict[str, tuple[int, int, int, int]] = {}
    labels: dict[str, tuple[int, ...]] = {}
    for p, (part, ids) in enumerate(images.items()):
        for k, i in enumerate(ids):
            (root / "JPEGImages" / f"{i}.jpg").write_bytes(photo(20 * p + k + 200))
            objects = [voc_object("horse", (1, 1, 5, 5)), voc_object("person", (3, 4, 20, 30), parts=HEAD_PART)]
            found = {f"{i}#2": (2, 3, 20, 30)}
            if k == 0:
                objects.append(voc_object("person", (10, "5.70000076293945", 40, 38)))
                found[f"{i}#3"] = (9, 4, 40, 38)
            (root / "Annotations" / f"{i}.xml").write_text(person_xml(i, objects))
            boxes |= found
            people.setdefault(part, []).extend(found)
        lists = root / "ImageSets" / "Action"
        (lists / f"{part}.txt").write_text("".join(f"{i}\n" for i in ids))
        if part != "test":
            for k, person in enumerate(people[part]):
                labels[person] = (1 if k % 2 else -1, (1, 1, -1, -1)[k % 4])
            labels[people[part][-1]] = (0, 1)
        for a, action in enumerate(actions):
            words = [(*p.split("#"), f"{labels[p][a]:2d}" if p in labels else "") for p in people[part]]
            (lists / f"{action}_{part}.txt").write_text("".join("  ".join(line) + "\n" for line in words))
    parts = {
        "train": {"images": 8, "people": 9, "use": "fit"},
        "val": {"images": 8, "people": 9, "use": "choose C"},
        "test": {"images": 5, "people": 6, "use": "server", "needed": False, "labelled": False, "verified": False},
    }
    local = {"kind": "train_test", "train": "train", "test": "val", "validation_fraction": 0.5, "seed": 1}
    official = {"kind": "server_test", "fit": "train", "validation": "val", "test": "test", "competition": "comp10"}
    protocol = official | {"local": local}
    record("voc2012_action", classes=list(actions), parts=parts, protocol=protocol, archives=[])
    return SimpleNamespace(folder=tmp_path / "voc", root=root, people=people, boxes=boxes, labels=labels)


@pytest.fixture
def caltech101(tmp_path, photo, record) -> SimpleNamespace:
    """101_ObjectCategories with background, its stray file, a grey picture and an upper-case suffix."""
    root = tmp_path / "caltech" / "101_ObjectCategories"
    sizes = {"BACKGROUND_Google": 9, "Faces": 14, "inline_skate": 8}
    for c, (name, size) in enumerate(sizes.items()):
        (root / name).mkdir(parents=True)
        for k in range(1, size + 1):
            suffix = "JPG" if (c, k) == (1, 2) else "jpg"
            mode = "L" if (c, k) == (2, 1) else "RGB"
            (root / name / f"image_{k:04d}.{suffix}").write_bytes(photo(100 * c + k, mode=mode))
    (root / "BACKGROUND_Google" / "tmp").write_bytes(b"\x00\x01")
    protocol = {
        "kind": "random_splits",
        "splits": 3,
        "seed": 1,
        "train_per_class": 6,
        "test_per_class": 5,
        "validation_fraction": 0.2,
    }
    record(
        "caltech101",
        classes=list(sizes),
        parts={"all": {"images": sum(sizes.values()), "use": "all"}},
        class_sizes={"smallest": 31, "largest": 800, "verified": False},
        protocol=protocol,
        archives=[],
    )
    return SimpleNamespace(folder=root.parent, root=root, sizes=sizes)


@pytest.fixture
def caltech256(tmp_path, photo, record) -> SimpleNamespace:
    """256_ObjectCategories with clutter, a stray file in 198.spider and a stray folder in 056.dog."""
    root = tmp_path / "caltech" / "256_ObjectCategories"
    sizes = {"056.dog": 6, "198.spider": 7, "257.clutter": 8}
    for c, (name, size) in enumerate(sizes.items()):
        (root / name).mkdir(parents=True)
        for k in range(1, size + 1):
            (root / name / f"{name[:3]}_{k:04d}.jpg").write_bytes(photo(100 * c + k))
    (root / "198.spider" / "RENAME2").write_text("#!/bin/sh\n")
    (root / "056.dog" / "greg" / "vision309").mkdir(parents=True)
    (root / "056.dog" / "greg" / "vision309" / "056_0001.jpg").write_bytes(photo(7))
    protocol = {
        "kind": "random_splits",
        "splits": 3,
        "seed": 1,
        "train_per_class": 4,
        "test_per_class": None,
        "validation_fraction": 0.2,
    }
    parts = {"all": {"images": sum(sizes.values()), "use": "all"}}
    record("caltech256", classes=list(sizes), parts=parts, class_sizes=None, protocol=protocol, archives=[])
    return SimpleNamespace(folder=root.parent, root=root, sizes=sizes)


def write_coco(folder: Path, year: int, photo: Callable[..., bytes]) -> dict[str, tuple[int, ...]]:
    """COCO with gaps in the category ids, crowd regions and images without annotations; returns the labels."""
    categories = [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}, {"id": 13, "name": "stop sign"}]
    labels: dict[str, tuple[int, ...]] = {}
    for p, part in enumerate((f"train{year}", f"val{year}")):
        (folder / part).mkdir(parents=True)
        prefix = f"COCO_{part}_" if year == 2014 else ""
        images, annotations = [], []
        for k in range(1, 17):
            name = f"{prefix}{k:012d}.jpg"
            (folder / part / name).write_bytes(photo(300 + 20 * p + k))
            images.append({"id": k, "file_name": name, "width": 48, "height": 40})
        for k in range(1, 15):  # the last two have no annotations
            category = categories[k % 3]["id"]
            box = {"bbox": [1, 1, 9, 9], "area": 81, "segmentation": [[1, 1, 9, 1, 9, 9]]}
            annotations.append({"id": 10 * k, "image_id": k, "category_id": category, "iscrowd": 0, **box})
            annotations.append({"id": 10 * k + 1, "image_id": k, "category_id": 13, "iscrowd": 1, **box})
            row = [-1, 0, -1]  # by ascending id: person, stop sign, toothbrush
            row[{1: 0, 13: 1, 90: 2}[category]] = 1
            labels[f"{part}/{prefix}{k:012d}.jpg"] = tuple(row)
        for k in (15, 16):
            labels[f"{part}/{prefix}{k:012d}.jpg"] = (-1, -1, -1)
        (folder / "annotations").mkdir(exist_ok=True)
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    return labels


def coco_tree(year: int, tmp_path: Path, photo: Callable[..., bytes], record: Callable[..., Path]) -> SimpleNamespace:
    folder = tmp_path / "coco"
    labels = write_coco(folder, year, photo)
    train, val = (f"train{year}", f"val{year}")
    classes = ["person", "stop sign", "toothbrush"]
    protocol = {"kind": "train_test", "train": train, "test": val, "validation_fraction": 0.4, "seed": 1}
    parts = {part: {"images": 16, "use": part} for part in (train, val)}
    record(f"coco{year}", classes=classes, parts=parts, protocol=protocol, archives=[])
    lists = {use: [i for i in labels if i.startswith(part)] for use, part in (("trainval", train), ("test", val))}
    return SimpleNamespace(folder=folder, labels=labels, classes=classes, lists=lists)


@pytest.fixture
def coco(tmp_path, photo, record) -> SimpleNamespace:
    """COCO 2014, whose files name their part."""
    return coco_tree(2014, tmp_path, photo, record)


@pytest.fixture
def coco2017(tmp_path, photo, record) -> SimpleNamespace:
    """COCO 2017, whose files are named by a number alone."""
    return coco_tree(2017, tmp_path, photo, record)


WNIDS = ("n01440764", "n02119789", "n02123045", "n03000000")
KIT_ORDER = ("n02119789", "n03000000", "n01440764", "n02123045")


def write_kit(folder: Path, truth: Sequence[int], blacklist: Sequence[int] = ()) -> None:
    """A development kit whose ids do not follow the sorted WordNet ids, with an inner node beyond them."""
    folder.mkdir(parents=True)
    kind = np.dtype([("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")])
    synsets = np.zeros((len(KIT_ORDER) + 1, 1), dtype=kind)
    for k, wnid in enumerate(KIT_ORDER):
        synsets[k, 0] = (k + 1, wnid, 0)
    synsets[-1, 0] = (len(KIT_ORDER) + 1, "n00001740", 4)
    savemat(folder / "meta.mat", {"synsets": synsets})
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{k}\n" for k in truth))
    if blacklist:
        (folder / "ILSVRC2014_clsloc_validation_blacklist.txt").write_text("".join(f"{k}\n" for k in blacklist))


@pytest.fixture
def ilsvrc(tmp_path, photo, record) -> SimpleNamespace:
    """ILSVRC2012 with a flat val, the kit beside it, a PNG named .JPEG and a CMYK photograph."""
    folder = tmp_path / "ilsvrc"
    for c, wnid in enumerate(WNIDS):
        (folder / "train" / wnid).mkdir(parents=True)
        for k in range(1, 6):
            format, mode = ("PNG", "RGB") if (c, k) == (0, 1) else ("JPEG", "CMYK" if (c, k) == (1, 1) else "RGB")  # noqa: A001
            data = photo(400 + 10 * c + k, mode=mode, format=format)
            (folder / "train" / wnid / f"{wnid}_{k}.JPEG").write_bytes(data)
    truth = [1, 2, 3, 4, 1, 2, 3, 4]
    (folder / "val").mkdir()
    for k in range(1, 9):
        (folder / "val" / f"ILSVRC2012_val_{k:08d}.JPEG").write_bytes(photo(500 + k))
    write_kit(folder / "ILSVRC2012_devkit_t12" / "data", truth, blacklist=(2, 5))
    parts = {
        "train": {"images": 20, "use": "pretraining"},
        "val": {"images": 8, "use": "watched"},
        "blacklist": {"images": 2, "use": "left out", "needed": False},
    }
    sizes = {"smallest": 5, "largest": 5, "verified": True}
    record("ilsvrc2012", classes=list(WNIDS), parts=parts, class_sizes=sizes, archives=[])
    return SimpleNamespace(folder=folder, truth=[KIT_ORDER[k - 1] for k in truth])
