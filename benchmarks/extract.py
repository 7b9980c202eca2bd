"""Dense descriptors, from image files to the cache: ours beside the loop a user would write, in one run.

The plain loop: the net as a fully convolutional torch module, NCHW, float32, one image at a time, its mirror image as a
second pass, every file decoded anew for every scale, rows collected in an array that is saved at the end. Ours is what
`tb extract` does, by each engine that is asked for. Loading of the weights is in neither. The sides take turns, so that
a machine that slows down slows all; of several repeats the median counts. The rate of a matrix product is measured
beside them: what a direct convolution cannot beat, and Winograd's algorithm can.

The JPEGs, 500 x 375 px, are cut from scikit-learn's sample photographs.

    python benchmarks/extract.py --net D --scales 256..512 --images 4 --json
"""

import argparse
import json
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from transferbench import environment
from transferbench.data import Dataset
from transferbench.data.images import rescaled_size
from transferbench.extraction.memory import memory_kept
from transferbench.extraction.prefetch import prefetching
from transferbench.home import Home
from transferbench.nets.modules import VGG
from transferbench.pipeline.engines import EngineOptions, open_engine
from transferbench.pipeline.plan import Part
from transferbench.pipeline.shards import ShardImages, compute, n_workers
from transferbench.pipeline.wanted import parts_of_options
from transferbench.types.net import NetSpec
from transferbench.types.scales import Scales

SIZE = (500, 375)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="D")
    parser.add_argument("--scales", type=Scales.parse, default=Scales((256,)))
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--engines", default=None, help="ncnn,torch; all that are there unless named")
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = (options.engines or ("ncnn,torch" if options.device == "cpu" else "torch")).split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photographs(folder / "images", max(8, options.images))  # fewer could not be divided into training and test
        found = measure(folder, names, options)
    print(json.dumps(found, indent=1) if options.json else in_words(found))


def measure(folder: Path, names: list[str], options: argparse.Namespace) -> dict:
    # Each side has a process of its own: what ours asks of the memory allocator must not speed up the plain loop.
    sides = {
        name: ProcessPoolExecutor(1, get_context("spawn"), initializer=make, initargs=(name, folder, options))
        for name in ("plain", *names)
    }
    facts = {name: side.submit(facts_of_side).result() for name, side in sides.items()}
    scales = []
    for side in options.scales:
        for each in sides.values():  # memory of a new size, algorithms, compiled kernels: not what a long run does
            each.submit(run, side, options.images if options.compile or options.device != "cpu" else 1).result()
        rows, seconds = in_turns(sides, side, options)
        largest = np.abs(rows["plain"]).max()
        gflop = 2 * options.images * facts["plain"][side]
        scales.append({
            "short_side_px": side,
            "seconds_per_image": {name: taken / options.images for name, taken in seconds.items()},
            "ratio": {name: seconds["plain"] / seconds[name] for name in names},
            "gflop_per_s": {name: gflop / taken for name, taken in seconds.items()},
            "largest_difference": {name: float(np.abs(rows[name] - rows["plain"]).max() / largest) for name in names},
        })  # fmt: skip
    total = {name: sum(scale["seconds_per_image"][name] for scale in scales) for name in ("plain", *names)}
    return {
        "net": options.net,
        "images": options.images,
        "device": options.device,
        "precision": {name: facts[name] for name in names},
        "machine": {**environment.describe(), "processor": platform.processor() or platform.machine()},
        "matrix_product_gflop_per_s": matrix_product_gflops(options.device),
        "scales": scales,
        "together": {
            "images_per_s": {name: 1 / taken for name, taken in total.items()},
            "ratio": {name: total["plain"] / total[name] for name in names},
        },
    }


RUN: list = []


def make(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Make a side, in its own process."""
    dataset, (part,) = parts_of_options(
        f"imagefolder:{folder / 'images'}", options.net, "random:0", options.scales, flip=True,
        home=Home(folder / "home")
    )  # fmt: skip
    ids = dataset.ids[: options.images]
    if name == "plain":
        RUN.append(PlainLoop(part, dataset, ids, options.device))
    else:
        how = EngineOptions(engine=name, precision=options.precision, compiled=options.compile)
        RUN.append(Ours(open_engine(part, options.device, how), part, dataset, ids))


def facts_of_side() -> object:
    return RUN[0].facts()


def run(side: int, count: int) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    rows = RUN[0](side, count)
    return rows, time.perf_counter() - start


def photographs(folder: Path, count: int) -> None:
    """Cut 500 x 375 px out of two photographs at different places; half of them in each of two classes."""
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(0)
    for number in range(count):
        whole = Image.fromarray(load_sample_images().images[number % 2])
        left, top = (int(random.integers(0, limit + 1)) for limit in (whole.width - SIZE[0], whole.height - SIZE[1]))
        path = folder / ("flower", "temple")[number % 2] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.crop((left, top, left + SIZE[0], top + SIZE[1])).save(path, quality=90)


class PlainLoop:
    """What a user would write."""

    def __init__(self, part: Part, dataset: Dataset, ids: tuple[str, ...], device: str) -> None:
        net = part.weights.load().build()
        layers: list[nn.Module] = []
        for name, layer in net.named_children():
            if name == "fc8":
                break
            layers += [layer, nn.ReLU(inplace=True)]
            if is_last_of_block(net, name):
                layers.append(nn.MaxPool2d(2, 2, ceil_mode=net.spec.pool_rounding == "ceil"))
        self.net = nn.Sequential(*layers).eval().to(device)
        self._mean = torch.tensor(part.weights.header.preprocessing.mean, device=device).view(1, 3, 1, 1)
        self._dataset, self._ids, self._device = dataset, ids, device
        self._spec = net.spec
        self._sides = [block.spec.short_side_px for block in part.blocks]

    def __call__(self, side: int, count: int) -> np.ndarray:  # noqa: D102
        rows = []
        with torch.no_grad():
            for image_id in self._ids[:count]:
                with Image.open(self._dataset.file(image_id)) as file:
                    image = file.convert("RGB")
                image = image.resize(rescaled_size(*image.size, side), Image.Resampling.BICUBIC)
                pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous().to(self._device)
                pixels = pixels.float() - self._mean
                rows.append((self._row(pixels) + self._row(pixels.flip(3))) / 2)
        found = torch.cat(rows).cpu().numpy()
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            np.save(file, found)
        return found

    def facts(self) -> dict[int, float]:
        """GFLOP of one image at every scale, counted as direct convolutions whatever algorithm is used."""
        return {side: gflop_of(self._spec, rescaled_size(*SIZE, side)) for side in self._sides}

    def _row(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.net(pixels).mean(dim=(2, 3))


def is_last_of_block(net: VGG, name: str) -> bool:
    from transferbench.nets import vgg

    return name in {block[-1].name for block in vgg.blocks(net.spec)}


@dataclass(frozen=True)
class Ours:
    """What `tb extract` does."""

    engine: Any
    part: Part
    dataset: Dataset
    ids: tuple[str, ...]

    def __call__(self, side: int, count: int) -> np.ndarray:  # noqa: D102
        block = next(block for block in self.part.blocks if block.spec.short_side_px == side)
        with tempfile.TemporaryDirectory() as features, prefetching(n_workers()) as prefetch, memory_kept():
            block = type(block).of(Path(features), block.spec, self.ids[:count])
            for index in range(block.n_shards):
                images = ShardImages(self.dataset.pictures("image"), block.rows(index), prefetch)
                compute(self.engine, images, index, [block], done=lambda _n: None, warn=print)
            block.finish(environment.describe())
            return block.read().array

    def facts(self) -> str:  # noqa: D102
        return self.engine.precision


def in_turns(sides: dict[str, ProcessPoolExecutor], side: int, options: argparse.Namespace) -> tuple[dict, dict]:
    rows, seconds = {}, {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, each in sides.items():
            rows[name], taken = each.submit(run, side, options.images).result()
            seconds[name].append(taken)
    return rows, {name: float(np.median(taken)) for name, taken in seconds.items()}


def gflop_of(spec: NetSpec, size: tuple[int, int]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
        VGG(spec).describe(torch.empty(1, 3, size[1], size[0]))
    return counter.get_total_flops() / 1e9


def matrix_product_gflops(device: str) -> float:
    side, kind = (3000, torch.float32) if device == "cpu" else (8192, torch.bfloat16)
    a = torch.rand(side, side, device=device, dtype=kind)

    def once() -> float:
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # waits for a GPU
        return time.perf_counter() - start

    return 2 * side**3 / min(once() for _ in range(5)) / 1e9


def in_words(found: dict) -> str:
    machine = found["machine"]
    lines = [
        f"net {found['net']}, {found['images']} images of 500 x 375 px on {found['device']}: {machine['processor']}, "
        f"{machine['cores']} cores, torch {machine['torch']}",
        f"matrix product: {found['matrix_product_gflop_per_s']:.0f} GFLOP/s",
    ]
    for scale in found["scales"]:
        plain = f"plain loop {scale['seconds_per_image']['plain']:.3f} s an image"
        engines = [
            f"{name} {scale['seconds_per_image'][name]:.3f} s "
            f"({ratio:.2f} x, {scale['gflop_per_s'][name]:.0f} GFLOP/s, off by {scale['largest_difference'][name]:.0e})"
            for name, ratio in scale["ratio"].items()
        ]
        lines.append(f"Q={scale['short_side_px']}: " + "; ".join([plain, *engines]))
    ratios = ", ".join(f"{name} {ratio:.2f} x" for name, ratio in found["together"]["ratio"].items())
    return "\n".join([*lines, f"all scales together: {ratios}"])


if __name__ == "__main__":
    main()
