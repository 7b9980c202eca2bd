"""Write a work folder as `tb extract` would leave it for Caltech-256: 30,607 images by two nets at three scales.

The images are stubs in the official layout with the official class names, as many as there are (a class has 80 to 827);
nothing decodes them. The descriptors are those of `descriptors.py`: 6 blocks of 500 MB. What is measured with it is the
rest of the protocol of Table 11's last row:

    python benchmarks/caltech256_cache.py /tmp/caltech256-shaped
    time tb evaluate --recipe /tmp/caltech256-shaped/recipe.yaml --home /tmp/caltech256-shaped --json
    python benchmarks/protocol.py --home /tmp/caltech256-shaped
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
from descriptors import Imaginary

N_IMAGES = 30_607
SMALLEST, CLUTTER = 80, 827
NEEDED_BYTES = 4_000_000_000
RECIPE = """# Caltech-256-shaped: imaginary descriptors of two nets at three scales, stacked.
version: 1
dataset: caltech256
features:
  nets:
    - {name: D, weights: {kind: random, seed: 0}}
    - {name: E, weights: {kind: random, seed: 0}}
  scales: [256, 384, 512]
  flip: true
aggregate: {kind: stack, l2: both}
svm:
  loss: squared_hinge
  C: CS
  selection: validation
claims: null
"""


def sizes(n_classes: int) -> np.ndarray:
    """Images per class: a long tail down to 80, and the clutter last."""
    rng = np.random.default_rng(0)
    tail = rng.exponential(1.0, n_classes - 1)
    rest = N_IMAGES - CLUTTER - SMALLEST * (n_classes - 1)
    counts = SMALLEST + np.floor(tail / tail.sum() * rest).astype(int)
    counts[: N_IMAGES - CLUTTER - counts.sum()] += 1
    return np.append(counts, CLUTTER)


def write_stubs(folder: Path, classes: tuple[str, ...]) -> None:
    for number, (name, count) in enumerate(zip(classes, sizes(len(classes)), strict=True), start=1):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for image in range(1, count + 1):
            path = folder / name / f"{number:03d}_{image:04d}.jpg"
            if not path.exists():
                path.write_text(path.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path, nargs="?", help="work folder to write; without it nothing is done")
    parser.add_argument("--overlap", type=float, default=3.3, help="of the classes: larger is harder")
    parser.add_argument("--cs", default="[0.01, 0.1, 1.0, 10.0, 100.0]", help="values of C in the recipe")
    options = parser.parse_args()
    if options.home is None:
        parser.print_usage()
        return

    from transferbench.data import open_dataset
    from transferbench.data.place import Place
    from transferbench.data.record import load_record
    from transferbench.home import Home
    from transferbench.pipeline.plan import variants
    from transferbench.recipe.files import load
    from transferbench.recipe.transfer import Recipe

    home = Home.at(options.home)
    home.root.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(home.root).free < NEEDED_BYTES:
        sys.exit(f"{home.root}: the disk has less than {NEEDED_BYTES / 1e9:.0f} GB free")
    (home.root / "recipe.yaml").write_text(RECIPE.replace("CS", options.cs))
    write_stubs(home.data / "caltech256" / "256_ObjectCategories", load_record("caltech256").classes)
    dataset = open_dataset("caltech256", Place(folder=home.data / "caltech256"))
    labels = dataset.labels.of(dataset.ids)
    images = Imaginary(labels, len(dataset.labels.classes), options.overlap, 0)
    (layout,) = variants(load(str(home.root / "recipe.yaml"), Recipe), dataset, home)
    for net, part in enumerate(layout.parts):
        for scale, block in enumerate(part.blocks):
            for index in block.missing_shards():
                first = 256 * index
                block.write(index, images.rows(net, scale, first, first + len(block.rows(index))))
            block.finish({"engine": "none, imaginary", "device": "none, imaginary"})
            print(f"{part.title}: {block.folder}", flush=True)


if __name__ == "__main__":
    main()
