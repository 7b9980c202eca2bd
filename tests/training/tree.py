"""A tiny tree in the layout of ILSVRC: train/ and val/ of three classes that differ in colour."""

import numpy as np
from PIL import Image

CLASSES = ("n01440764", "n01443537", "n01484850")


def write_tree(folder, *, training=7, held_out=3):
    random = np.random.default_rng(0)
    for part, n in (("train", training), ("val", held_out)):
        for number, wnid in enumerate(CLASSES):
            (folder / part / wnid).mkdir(parents=True)
            for k in range(n):
                pixels = random.integers(0, 90, (44, 52, 3), dtype=np.uint8)
                pixels[..., number] += 120
                Image.fromarray(pixels).save(folder / part / wnid / f"{wnid}_{k}.JPEG", format="JPEG")
    return folder
