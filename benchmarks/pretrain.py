"""Pretraining: our loop beside that of torchvision's references, the net alone, and the loaders alone, in one run.

Both loops train the same net from the same JPEGs with the same batch, precision and optimiser; geometry and filter of
the crops are the same too. The plain one is what everybody starts with: ImageFolder, Resize, RandomCrop, flip, float32
crops from the workers, a step that waits for its loss. Ours is what `tb pretrain` runs. "Net alone" is each loop with
batches that are there already; "loader alone" has no net. The images are photographs that ship with scikit-learn, cut
at random, as JPEGs of ImageNet's usual size and quality.

    python benchmarks/pretrain.py loaders                          # one core: images/s of every loader
    OMP_NUM_THREADS=1 python benchmarks/pretrain.py loops --net A --width 0.25 --batch 32
    python benchmarks/pretrain.py loops --device cuda --precision bf16 --net D --batch 256 --steps 60 --workers 14
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader, RandomSampler
from torchvision import datasets, transforms

from transferbench.data import Place, open_source
from transferbench.data.pack.layout import PackOptions
from transferbench.home import Home
from transferbench.nets.inputs import Classifier
from transferbench.nets.modules import VGG, initialise
from transferbench.pipeline.crops import training_crops
from transferbench.pipeline.datasets import DataOptions
from transferbench.pipeline.pack import pack
from transferbench.pretraining import Steps
from transferbench.progress import Silent
from transferbench.training.augment import AugmentOptions
from transferbench.training.batch import Batch, Crops
from transferbench.training.loop import train
from transferbench.training.options import Execution, TrainingOptions
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

SIZES = (
    (500, 375),
    (500, 375),
    (375, 500),
    (500, 333),
    (400, 300),
    (640, 480),
)  # as often as in ImageNet, roughly
MEAN = (123.68, 116.779, 103.939)
CLASSES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("loaders", "loops"))
    parser.add_argument("--net", default="A")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--short-side", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bf16"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="Keeps the images between calls.")
    options = parser.parse_args()
    device = torch.cuda.get_device_name() if options.device.startswith("cuda") else f"{os.cpu_count()} cores"
    print(
        f"{platform.processor() or platform.machine()}, {device}, torch {torch.__version__}, Pillow {PIL.__version__}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        write_images(folder / "images", options.images)
        (loaders if options.what == "loaders" else loops)(folder, options)


def write_images(folder: Path, n: int) -> None:
    """Write JPEGs (quality 95, chroma halved) in class folders, unless they are there."""
    if folder.is_dir():
        return
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    rng = np.random.default_rng(0)
    for k in range(n):
        width, height = SIZES[k % len(SIZES)]
        photograph = photographs[k % len(photographs)]
        part = rng.uniform(0.5, 1.0) * min(photograph.width / width, photograph.height / height)
        across, down = width * part, height * part
        left, top = rng.uniform(0, photograph.width - across), rng.uniform(0, photograph.height - down)
        image = photograph.resize((width, height), Image.Resampling.BICUBIC, box=(left, top, left + across, top + down))
        path = folder / f"class{k % CLASSES}" / f"{k:05d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, "JPEG", quality=95, subsampling=2)


# the loaders alone, on one core


def loaders(folder: Path, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    name = f"imagefolder:{folder / 'images'}"
    sources = {"folder": name}
    for side in (512, options.short_side):
        out = folder / f"pack{side}"
        how = PackOptions(short_side=side, quality=95, interpolation="bicubic", shard_images=8192)
        pack(name, Home(folder), DataOptions(), how, out=out, progress=Silent())
        sources[f"pack at {side}"] = f"imagefolder:{out}"
    measured = {f"ours, {told}": ours_alone(source, options) for told, source in sources.items()}
    measured["torchvision's, folder"] = plain_alone(folder / "images", options)
    rates = alternating(measured, options.repeats)
    sizes = {told: sum(p.stat().st_size for p in path.rglob("*.*")) for told, path in places(folder, options).items()}
    print("loader alone, one core, decoding in this process, S =", options.short_side)
    base = rates["ours, folder"]
    for told, rate in rates.items():
        size = sizes.get(told.removeprefix("ours, "))
        print(f"  {told:24} {rate:7.0f} images/s, {rate / base:5.2f} x ours from the folder", end="")
        print(f", {size / 1e6:.1f} MB" if size and told.startswith("ours") else "")


def places(folder: Path, options: argparse.Namespace) -> dict[str, Path]:
    return {
        "folder": folder / "images",
        "pack at 512": folder / "pack512",
        f"pack at {options.short_side}": folder / f"pack{options.short_side}",
    }


def ours_alone(source: str, options: argparse.Namespace) -> Callable[[], int]:
    crops = our_crops(source, options, workers=0)
    return lambda: sum(len(batch.rows) for batch in crops.batches(batches(len(crops), options.batch), 0))


def plain_alone(folder: Path, options: argparse.Namespace) -> Callable[[], int]:
    loader = DataLoader(plain_dataset(folder, options), batch_size=options.batch, num_workers=0)
    return lambda: sum(len(labels) for _, labels in loader)


def alternating(measured: dict[str, Callable[[], int]], repeats: int) -> dict[str, float]:
    """Alternate, so that a machine that slows down slows all; the median of every one counts."""
    rates: dict[str, list[float]] = {told: [] for told in measured}
    for repeat in range(repeats + 1):
        for told, visit in measured.items():
            start = time.perf_counter()
            n = visit()
            if repeat:
                rates[told].append(n / (time.perf_counter() - start))
    return {told: float(np.median(found)) for told, found in rates.items()}


# whole loops


def loops(folder: Path, options: argparse.Namespace) -> None:
    sources = {"folder": f"imagefolder:{folder / 'images'}"}
    how = PackOptions(short_side=options.short_side, quality=95, interpolation="bicubic", shard_images=8192)
    pack(sources["folder"], Home(folder), DataOptions(), how, out=folder / "pack", progress=Silent())
    sources["pack"] = f"imagefolder:{folder / 'pack'}"
    there = fixed_batch(our_crops(sources["folder"], options, workers=0), options)
    plain_there = plain_batch(folder / "images", options)
    runs: dict[str, Callable[[], list[float]]] = {
        "plain loop, net alone": lambda: plain_loop([plain_there] * (options.steps + 2), options),
        "our loop, net alone": lambda: our_loop(there, options),
        "plain loop": lambda: plain_loop(plain_batches(folder / "images", options), options),
        "our loop, folder": lambda: our_loop(our_crops(sources["folder"], options, options.workers), options),
        "our loop, pack": lambda: our_loop(our_crops(sources["pack"], options, options.workers), options),
    }
    seconds: dict[str, list[float]] = {told: [] for told in runs}
    for _ in range(options.repeats):  # alternating, so that a machine that slows down slows all
        for told, run in runs.items():
            seconds[told] += run()
    # On a CPU the median step: other work on the machine disturbs some of them. On a GPU all of them: what waits for
    # the loader waits now and then.
    typical = np.mean if options.device.startswith("cuda") else np.median
    found = {told: options.batch / float(typical(taken)) for told, taken in seconds.items()}
    print(
        f"net {options.net}, width {options.width:g}, batch {options.batch}, {options.precision}, "
        f"{options.workers} workers, {options.repeats} times {options.steps} steps"
    )
    for told, rate in found.items():
        alone = found["plain loop, net alone" if told.startswith("plain") else "our loop, net alone"]
        print(f"  {told:24} {rate:8.1f} images/s, {rate / alone:4.0%} of its net alone")
    print(f"ratio of our loop to the plain one: net alone {ratio(found, ', net alone', ', net alone'):.2f}", end="")
    print(f", from a folder {ratio(found, ', folder', ''):.2f}, from a pack {ratio(found, ', pack', ''):.2f}")
    if options.device.startswith("cuda"):
        print(f"memory of the GPU at most: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
        print(f"74 epochs of 1,281,167 images from a pack: {74 * 1_281_167 / found['our loop, pack'] / 3600:.1f} hours")


def ratio(found: dict[str, float], ours: str, plain: str) -> float:
    return found[f"our loop{ours}"] / found[f"plain loop{plain}"]


class EnoughError(Exception):
    """Ends a training that was only to be timed, before it measures and saves anything."""


class Timed:
    """Crops that note when a batch is asked for, and end the training after enough of them."""

    def __init__(self, crops: Crops, steps: int, device: str) -> None:
        self.labels, self._crops, self._steps, self._device = crops.labels, crops, steps, device
        self.asked: list[float] = []

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batches: Sequence[np.ndarray], epoch: int | None) -> Iterator[Batch]:
        """Visit, and note the time."""
        inner = self._crops.batches(batches[: self._steps + 2], epoch)
        for number, batch in enumerate(inner):
            if number in {1, self._steps + 1}:
                synchronise(self._device)
            if number:  # the first step warms up
                self.asked.append(time.perf_counter())
            if number == self._steps + 1:
                inner.close()
                raise EnoughError
            yield batch


class Ready:
    """Crops that are there already: the same batch, again and again."""

    def __init__(self, batch: Batch, n: int) -> None:
        self.labels, self._batch = np.zeros(n, dtype=np.int64), batch

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batches: Sequence[np.ndarray], epoch: int | None) -> Iterator[Batch]:  # noqa: ARG002
        """Give the batch once for each that is asked for."""
        for _ in batches:
            yield self._batch


def our_loop(crops: Crops, options: argparse.Namespace) -> list[float]:
    spec = NetSpec(name=options.net, width=options.width, crop=options.crop, n_classes=1000)
    net = VGG(spec, dropout=0.5)
    initialise(net, "glorot", 0)
    how = TrainingOptions(
        epochs=1,
        batch_size=options.batch,
        learning_rate=1e-4,
        schedule=Steps(kind="steps", drops=()),
        momentum=0.9,
        weight_decay=5e-4,
        seed=0,
    )
    timed = Timed(crops, options.steps, options.device)
    with tempfile.TemporaryDirectory() as folder:
        execution = Execution(
            folder=Path(folder), device=options.device, precision=options.precision, compiled=options.compile
        )
        with suppress(EnoughError):
            train(Classifier(net, Preprocessing(mean=MEAN)), timed, timed, how, execution, progress=Silent())
    return list(np.diff(timed.asked))


def our_crops(source: str, options: argparse.Namespace, workers: int) -> Crops:
    opened = open_source(source, Place(folder=Path()))
    ids = tuple(sorted(opened.labels.by_id))
    wanted = (options.steps + 2) * options.batch if options.what == "loops" else len(ids)
    ids = (ids * -(-wanted // len(ids)))[:wanted]  # enough of them for all steps, over and over
    augment = AugmentOptions(
        crop=options.crop, short_sides=(options.short_side, options.short_side), flip=True, colour_shift=0.1, seed=0
    )
    pin = options.device.startswith("cuda")
    return training_crops(opened, ids, augment, "bicubic", exact=False, workers=workers, pin=pin)


def fixed_batch(crops: Crops, options: argparse.Namespace) -> Ready:
    batch = next(iter(crops.batches(batches(len(crops), options.batch), 0)))
    return Ready(batch, (options.steps + 2) * options.batch)


def batches(n: int, size: int) -> list[np.ndarray]:
    order = np.random.default_rng(0).permutation(n)
    return [order[start : start + size] for start in range(0, n, size)]


# what a user would write, after torchvision's references/classification/train.py


def plain_dataset(folder: Path, options: argparse.Namespace) -> datasets.ImageFolder:
    steps = [
        transforms.Resize(options.short_side, transforms.InterpolationMode.BICUBIC),
        transforms.RandomCrop(options.crop),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
        transforms.ConvertImageDtype(torch.float),
        transforms.Normalize([value / 255 for value in MEAN], [1 / 255] * 3),
    ]
    return datasets.ImageFolder(str(folder), transforms.Compose(steps))


def plain_batches(folder: Path, options: argparse.Namespace) -> DataLoader:
    dataset = plain_dataset(folder, options)
    sampler = RandomSampler(dataset, replacement=True, num_samples=(options.steps + 2) * options.batch)
    pin = options.device.startswith("cuda")
    return DataLoader(dataset, batch_size=options.batch, sampler=sampler, num_workers=options.workers, pin_memory=pin)


def plain_batch(folder: Path, options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    crops, labels = next(iter(DataLoader(plain_dataset(folder, options), batch_size=options.batch, shuffle=True)))
    return crops, labels


def plain_loop(loader: object, options: argparse.Namespace) -> list[float]:
    spec = NetSpec(name=options.net, width=options.width, crop=options.crop, n_classes=1000)
    net = VGG(spec, dropout=0.5)
    initialise(net, "glorot", 0)
    net.to(options.device).train()
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)
    asked = []
    for number, (crops, labels) in enumerate(loader):
        if number in {1, options.steps + 1}:
            synchronise(options.device)
        if number:
            asked.append(time.perf_counter())
        if number == options.steps + 1:
            break
        x, y = crops.to(options.device, non_blocking=True), labels.to(options.device, non_blocking=True)
        with torch.autocast(options.device, torch.bfloat16, enabled=options.precision == "bf16"):
            loss = F.cross_entropy(net(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()  # the references' metric logger does it after every step
    return list(np.diff(asked))


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
