"""The descriptor cache beside plain files of the same numbers: rates of writing and of reading, in one run.

Writing: ours is every shard with its hashes, its check of the rows, fsync and rename, one after the other, then the
manifest. Beside it as many plain files of the same rows, written and synchronised one by one (`ndarray.tofile`, fsync),
and one file synchronised once at the end. Reading is warm: what has just been written is in the system's memory. Ours
checks every byte; beside it `np.fromfile`. The sides take turns; the median counts, without the first turn: a virtual
machine gets its memory from its host when it first touches it, and that would be paid by whoever comes first.

    python benchmarks/cache.py --rows 10240 --json
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from transferbench import environment
from transferbench.cache.block import Block
from transferbench.cache.shard import ROWS_PER_SHARD
from transferbench.files import sync_folder
from transferbench.types.descriptors import DescriptorSpec
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing

SPEC = DescriptorSpec(
    dataset="benchmark",
    images_sha256="0" * 64,
    net=NetSpec(name="D"),
    weights_sha256="0" * 64,
    preprocessing=Preprocessing(),
    short_side_px=256,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5120)
    parser.add_argument("--dimensions", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to measure; the system's temporary one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = np.random.default_rng(0).standard_normal((options.rows, options.dimensions), dtype=np.float32)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        found = measure(Path(temporary), rows, options.repeats)
    print(json.dumps(found, indent=1) if options.json else in_words(found))


def measure(folder: Path, rows: np.ndarray, repeats: int) -> dict:
    block = Block.of(folder / "features", SPEC, tuple(f"image-{number:08d}" for number in range(len(rows))))
    plain, whole = folder / "plain", folder / "whole.bin"
    writers = {
        "ours": lambda: write_ours(block, rows),
        "plain": lambda: write_plain(plain, rows),
        "one_file": lambda: write_plain(whole.parent, rows, len(rows)),
    }
    written = in_turns(writers, repeats, lambda: empty(plain, block.folder))
    write_ours(block, rows)
    rows.tofile(whole)
    same = []
    readers = {
        "ours": lambda: same.append(np.array_equal(block.read().array[-1], rows[-1])),
        "plain": lambda: same.append(np.array_equal(np.fromfile(whole, np.float32)[-rows.shape[1] :], rows[-1])),
    }
    read = in_turns(readers, repeats, lambda: None)
    assert all(same), "what was read is not what was written"
    rates = {
        f"{verb}_mb_per_s": {name: rows.nbytes / 1e6 / taken for name, taken in seconds.items()}
        for verb, seconds in (("write", written), ("read", read))
    }
    return {
        "rows": len(rows),
        "dimensions": rows.shape[1],
        **rates,
        "write_share_of_plain": written["plain"] / written["ours"],
        "read_share_of_plain": read["plain"] / read["ours"],
        "machine": {**environment.describe(), "processor": platform.processor() or platform.machine()},
    }


def write_ours(block: Block, rows: np.ndarray) -> None:
    for index in range(block.n_shards):
        block.write(index, rows[index * ROWS_PER_SHARD : (index + 1) * ROWS_PER_SHARD])
    block.finish({})


def write_plain(folder: Path, rows: np.ndarray, length: int = ROWS_PER_SHARD) -> None:
    folder.mkdir(exist_ok=True)
    for start in range(0, len(rows), length):
        with (folder / f"{start:08d}.bin").open("wb") as file:
            rows[start : start + length].tofile(file)
            file.flush()
            os.fsync(file.fileno())


def empty(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    sync_folder(folders[0].parent)  # what has been deleted is not paid for by the side that comes next


def in_turns(sides: dict[str, Callable[[], object]], repeats: int, before: Callable[[], None]) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, run in sides.items():
            before()
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(taken[1:])) for name, taken in seconds.items()}


def in_words(found: dict) -> str:
    write, read = found["write_mb_per_s"], found["read_mb_per_s"]
    return (
        f"{found['rows']} rows of {found['dimensions']}\n"
        f"write: ours {write['ours']:.0f} MB/s, plain files {write['plain']:.0f} MB/s, "
        f"one file {write['one_file']:.0f} MB/s; {found['write_share_of_plain']:.0%} of plain files\n"
        f"read, warm: ours {read['ours']:.0f} MB/s, plain {read['plain']:.0f} MB/s; {found['read_share_of_plain']:.0%}"
    )


if __name__ == "__main__":
    main()
