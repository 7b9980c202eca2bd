"""A process that fills a block as `tb extract` does, and may be told to die at a named moment.

    python writer.py FOLDER [POINT NUMBER]

POINT is one of POINTS; the process kills itself when it gets there for the NUMBERth time.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from transferbench.cache.block import Block
from transferbench.types.descriptors import DescriptorSpec
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

POINTS = ("after write", "after fsync", "before rename", "after rename", "before manifest", "after manifest")
IDS = tuple(f"image-{i:05d}" for i in range(1100))
SPEC = DescriptorSpec(
    dataset="demo",
    images_sha256="a" * 64,
    net=NetSpec(name="D"),
    weights_sha256="b" * 64,
    preprocessing=Preprocessing(),
    short_side_px=256,
)


def block_in(folder: Path) -> Block:
    return Block.of(folder, SPEC, IDS)


def rows_of(block: Block, index: int) -> np.ndarray:
    return np.random.default_rng(index).standard_normal((len(block.rows(index)), 64)).astype(np.float32)


def fill(folder: Path) -> None:
    block = block_in(folder)
    while absent := block.missing_shards():
        for index in absent:
            with block.claim(index) as mine:
                if mine:
                    block.write(index, rows_of(block, index))
    block.finish({"device": "cpu"})


def die_at(point: str, number: int) -> None:
    """Replace the system calls of `files.publish` by ones that count, and kill the process at the right one."""
    left = {"calls": number}
    fsync, rename = os.fsync, Path.replace

    def reached(here: str) -> None:
        if here == point:
            left["calls"] -= 1
            if not left["calls"]:
                os.kill(os.getpid(), signal.SIGKILL)

    def counted_fsync(handle: int) -> None:
        reached("after write")
        fsync(handle)
        reached("after fsync")

    def counted_rename(self: Path, target: Path) -> Path:
        manifest = Path(target).name == "manifest.json"
        reached("before manifest" if manifest else "before rename")
        renamed = rename(self, target)
        reached("after manifest" if manifest else "after rename")
        return renamed

    os.fsync, Path.replace = counted_fsync, counted_rename


if __name__ == "__main__":
    if len(sys.argv) > 2:
        die_at(sys.argv[2], int(sys.argv[3]))
    print("started", flush=True)
    fill(Path(sys.argv[1]))
