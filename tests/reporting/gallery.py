"""Made-up results of the usual size: five datasets, twenty results, curves, confusions and pictures."""

from dataclasses import replace

import numpy as np
from sklearn.datasets import load_sample_images

from transferbench.evaluation.metrics import average_precision_area, precision_recall
from transferbench.pipeline.page import thumbnail
from transferbench.reporting.compare import compare
from transferbench.reporting.overview import Reported
from transferbench.reporting.result import BlockRecord, Result, SplitScore, StageRecord, VariantScore
from transferbench.reporting.test_scores import SplitScores
from transferbench.reporting.views import Curve, View, examples, thinned
from transferbench.types.labels import ClassLabels, MultiLabels
from transferbench.types.scores import MadeWith, PublishedRow

VOC = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
ACTIONS = [
    "jumping",
    "phoning",
    "playinginstrument",
    "reading",
    "ridingbike",
    "ridinghorse",
    "running",
    "takingphoto",
    "usingcomputer",
    "walking",
]
DATASETS = {  # title, classes, test images, splits, several classes per image, published
    "caltech101": ("Caltech-101", [f"category {n:03}" for n in range(102)], 2000, 3, False, 0.918),
    "caltech256": ("Caltech-256", [f"{n:03}.thing" for n in range(1, 258)], 4000, 3, False, 0.850),
    "voc2007": ("PASCAL VOC 2007, image classification", VOC, 1500, 1, True, 0.893),
    "voc2012": ("PASCAL VOC 2012, image classification", VOC, 1500, 1, True, 0.890),
    "voc2012_action": ("PASCAL VOC 2012, actions of people", ACTIONS, 1000, 1, True, 0.792),
}
KINDS = (
    ("D", "stack", (256, 384, 512)),
    ("E", "average", (256, 384, 512)),
    ("D", "stack", (256,)),
    ("D", "stack", (384,)),
)
GRID = (0.01, 0.0316, 0.1, 0.316, 1.0, 3.16, 10.0, 31.6, 100.0)


def views(*, small=False):
    """20 results, or with `small` one of each kind of labels on few classes."""
    generator = np.random.default_rng(0)
    photographs = load_sample_images().images
    chosen = {"caltech101": (*DATASETS["caltech101"][:1], ["cat", "dog", "emu"], 60, 3, False, 0.918)} if small else {}
    chosen |= {"voc2007": (*DATASETS["voc2007"][:1], ["bus", "car"], 90, 1, True, 0.893)} if small else DATASETS
    kinds = KINDS[:1] if small else KINDS
    return [
        _view(generator, photographs, name, dataset, kind, number)
        for name, dataset in chosen.items()
        for number, kind in enumerate(kinds)
    ]


def swept(view, settings):
    """The same result under the name that a sweep would give it."""
    result = view.entry.result
    named = result.model_copy(update={"recipe_name": result.recipe_name + settings})
    return replace(view, entry=replace(view.entry, result=named))


def small_scores():
    """What the results of `views` with `small` said about their test images, as they are stored."""
    generator = np.random.default_rng(1)
    several = _split(generator, ["bus", "car"], 90, True, 2.6, "1 of 1")[1]
    single = [_split(generator, ["cat", "dog", "emu"], 60, False, 5.2, f"{number} of 3")[1] for number in (1, 2, 3)]
    return [single, [several]]


def _view(generator, photographs, name, dataset, kind, number):
    title, classes, n_test, n_splits, several, published = dataset
    net, aggregate, scales = kind
    quality = 2.6 if several else 5.2
    parts = [
        _split(generator, classes, n_test, several, quality - 0.25 * number, f"{s + 1} of {n_splits}")
        for s in range(n_splits)
    ]
    splits = [part[0] for part in parts]
    values = [split.value for split in splits]
    std = float(np.std(values, ddof=1)) if n_splits > 1 else None
    ours = VariantScore(
        name="pretrained",
        title=f"pretrained, net {net}",
        dimensions=4096 * len(scales),
        mean=float(np.mean(values)),
        std=std,
        splits=tuple(splits),
    )
    floor = _split(generator, classes, n_test, several, 0.6, "1 of 1")[0]
    floors = VariantScore(
        name="random weights", title="random weights", dimensions=4096, mean=floor.value, std=None, splits=(floor,)
    )
    result = Result(
        created=f"2026-03-{number + 1:02}T12:00:00+00:00",
        recipe_name=f"{name}_{aggregate if len(scales) > 1 else f'single_{scales[0]}'}{'_e' * (net == 'E')}",
        recipe={
            "version": 1,
            "dataset": name,
            "features": {
                "nets": [{"name": net, "width": 1.0, "crop": 224, "layer": None, "weights": {"kind": "default"}}],
                "scales": list(scales),
                "flip": True,
                "regions": ["image"],
            },
            "aggregate": {"kind": aggregate, "l2": "both"},
            "svm": {"loss": "squared_hinge", "C": list(GRID), "selection": "validation"},
            "claims": f"{name}/vgg",
        },
        inputs_sha256="0123456789abcdef" * 4,
        dataset=name,
        dataset_title=title,
        metric="mean average precision (area)" if several else "mean class recall",
        classes=tuple(classes),
        scores=(ours, floors),
        solver="gram",
        blocks=tuple(BlockRecord(key="k" * 64, spec={"net": {"name": net}, "short_side_px": q}, engine="torch float32") for q in scales),
        weights=({"net": {"name": net}, "sha256": "w" * 64, "label": "the paper's net", "origin": {"kind": "import", "original": number % 2 == 0}},),
        environment={"torch": "2.14.1", "python": "3.12.3"},
        device="cpu",
        git_commit="a" * 40,
        stages=(StageRecord(name="evaluate", reused=False, seconds=12.5),),
    )  # fmt: skip
    made_with = MadeWith(
        nets=("D",),
        aggregate="stack",
        scales=(256, 384, 512),
        test="server" if name == "voc2012" else "local",
        average_precision="area" if several else None,
    )
    row = PublishedRow(
        key=f"{name}/vgg",
        metric="m",
        value=published,
        spread=0.005,
        source="Table 11",
        tolerance=0.01,
        made_with=made_with,
    )
    scores, labels = parts[0][1], parts[0][2]
    best, worst = examples(scores, classes)
    best, worst = ([_pictured(one, photographs, generator) for one in some] for some in (best, worst))
    curves = ()
    if several:
        truth = labels.of(scores.ids)
        traced = [precision_recall(truth[:, k], scores.values[:, k]) for k in range(len(classes))]
        curves = tuple(Curve(c, v, thinned(*t)) for c, v, t in zip(classes, splits[0].per_class, traced, strict=True))
    return View(Reported(f"results/{name}/{number}", result, compare(result, row)), curves, tuple(best), tuple(worst))


def _split(generator, classes, n_test, several, quality, name):
    ids = tuple(f"{n:06}" for n in range(n_test))
    n = len(classes)
    if several:
        truth = np.where(generator.random((n_test, n)) < 0.08, 1, -1).astype(np.int8)
        truth[np.arange(n), np.arange(n)] = 1
        values = generator.normal(size=truth.shape) + quality * (truth > 0) - 1.3
        labels = MultiLabels(classes=tuple(classes), by_id=dict(zip(ids, map(tuple, truth.tolist()), strict=True)))
        per_class = [average_precision_area(truth[:, k], values[:, k]) for k in range(n)]
        confusion = ()
    else:
        truth = np.arange(n_test) % n
        values = generator.normal(size=(n_test, n))
        values[np.arange(n_test), truth] += quality
        labels = ClassLabels(classes=tuple(classes), by_id=dict(zip(ids, truth.tolist(), strict=True)))
        counts = np.zeros((n, n), int)
        np.add.at(counts, (truth, values.argmax(axis=1)), 1)
        per_class = (np.diagonal(counts) / counts.sum(axis=1)).tolist()
        confusion = tuple(map(tuple, counts.tolist()))
    value = float(np.mean(per_class))
    curve = tuple((C, float(value - 0.02 * (np.log10(C) - 0.3) ** 2)) for C in GRID)
    score = SplitScore(
        name=name, sha256="c" * 64, n_fit=2400, n_validation=600, n_test=n_test, C=1.0, C_at_edge=False, validation=curve,
        value=value, per_class=tuple(per_class), confusion=confusion,
    )  # fmt: skip
    return score, SplitScores.of(0, name, ids, labels, values), labels


def _pictured(example, photographs, generator):
    from PIL import Image

    photograph = photographs[int(generator.integers(len(photographs)))]
    top, left = (int(generator.integers(side - 200)) for side in photograph.shape[:2])
    picture = thumbnail(Image.fromarray(photograph[top : top + 160, left : left + 200]))
    return type(example)(example.image_id, example.told, picture)
