"""Dense descriptors: ours beside the loop a user would write, in one run, with the processor's own limit next to it.

The plain loop is torch as everybody starts with it: one image at a time, NCHW, then its mirror image. Ours is what
`tb extract` runs: images of one size in a batch with their mirror images, channels-last.

    python benchmarks/dense_features.py --net D --scales 256..384 --images 4 --repeats 3
"""

import argparse
import os
import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from transferbench.extraction.dense import describe
from transferbench.extraction.engine import TorchEngine
from transferbench.nets.inputs import DenseBackbone, InputLayer
from transferbench.nets.weights import random_weights
from transferbench.types import NetSpec, Preprocessing, Scales


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="D")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--scales", type=Scales.parse, default=Scales((256,)))
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    weights = random_weights(NetSpec(name=options.net, width=options.width), Preprocessing(), seed=0)
    plain_net, plain_input = weights.build(), InputLayer(Preprocessing())
    engine = TorchEngine(DenseBackbone(weights.build(), Preprocessing()), "cpu")
    peak = matrix_product_gflops()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"float32 matrix product: {peak:.0f} GFLOP/s, the limit of a direct convolution")
    for side in options.scales:
        images = np.random.default_rng(0).integers(0, 256, (options.images, side, side * 4 // 3, 3), dtype=np.uint8)
        ours, plain = median_times(
            [
                lambda images=images: batched(engine, images),
                lambda images=images: one_by_one(plain_net, plain_input, images),
            ],
            options.repeats,
        )
        gflop = 2 * len(images) * gflop_of(weights.build(), images.shape[1:3])
        print(
            f"Q={side}: ours {ours / len(images):.3f} s an image, plain loop {plain / len(images):.3f} s; "
            f"ratio {plain / ours:.2f}; {gflop / ours:.0f} GFLOP/s, {gflop / ours / peak:.0%} of the limit"
        )


def batched(engine: TorchEngine, images: np.ndarray) -> np.ndarray:
    size = (images.shape[2], images.shape[1])
    return describe(engine, [size] * len(images), lambda position: images[position], flip=True, done=lambda _n: None)


def one_by_one(net: torch.nn.Module, inputs: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    rows = []
    with torch.inference_mode():
        for image in images:
            x = inputs(torch.from_numpy(image)[None]).contiguous()
            rows.append((net.describe(x) + net.describe(x.flip(3))).div(2))
    return torch.cat(rows).numpy()


def median_times(functions: list[Callable[[], np.ndarray]], repeats: int) -> list[float]:
    """Alternate, so that a machine that slows down slows both."""
    results = [function() for function in functions]
    largest = float(np.abs(results[0]).max())
    assert np.abs(results[0] - results[1]).max() < 1e-4 * largest, "both must compute the same"
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, taken in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return [float(np.median(taken)) for taken in times]


def gflop_of(net: torch.nn.Module, size: tuple[int, int]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        net.to("meta").describe(torch.empty(1, 3, *size))
    return counter.get_total_flops() / 1e9


def matrix_product_gflops(side: int = 3000) -> float:
    a = torch.rand(side, side)
    best = min(timed(lambda: a @ a) for _ in range(5))
    return 2 * side**3 / best / 1e9


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
