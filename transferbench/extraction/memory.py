"""How many pixels may be described at once: a fixed number, halved until it fits into the memory that is free."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

SHARE = 0.5
"""Of the free memory, for one batch: what is estimated is not all that is used."""


def fitting(batch_pixels: int, bytes_per_pixel: int, free_bytes: int) -> int:
    """Halve the size of batches until one takes no more than its share of the memory.

    The number is a power of two times smaller, not the largest that fits: so nearly every start on the same machine
    gives the same batches, and with them the same bits.

    Parameters
    ----------
    batch_pixels : int
        What is wanted, in px.
    bytes_per_pixel : int
        What a pixel takes.
    free_bytes : int
        What there is.

    Returns
    -------
    int
        At least 1; a batch holds at least one image anyway.
    """
    while batch_pixels > 1 and batch_pixels * bytes_per_pixel > SHARE * free_bytes:
        batch_pixels //= 2
    return batch_pixels


def free_bytes(device: str) -> int:
    """Ask for the memory that nobody uses.

    Parameters
    ----------
    device : str
        ``cpu`` or ``cuda:0``.

    Returns
    -------
    int
        Of the GPU, or of the machine, within the limit of the container.
    """
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return min(n for n in (_available(), _left_to_container()) if n is not None)


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let the C library keep what is freed for the next map, instead of giving it back to the system.

    The maps of the first layers take tens of MB each. By default every one of them is fresh memory, which the system
    fills with zeros page by page: a fifth to a third of the time of a direct convolution. Other C libraries than glibc
    are left as they are.

    Yields
    ------
    None
        Afterwards large pieces go back to the system again.
    """
    try:
        library = ctypes.CDLL(None)
        set_option, trim = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):
        yield
        return
    set_option(_TRIM_THRESHOLD, _NEVER)
    set_option(_MAPPINGS, 0)
    try:
        yield
    finally:
        set_option(_MAPPINGS, _DEFAULT_MAPPINGS)
        set_option(_TRIM_THRESHOLD, _DEFAULT_TRIM_BYTES)
        trim(0)


# Numbers of mallopt(3), and glibc's defaults.
_TRIM_THRESHOLD, _MAPPINGS = -1, -4
_NEVER = 2**31 - 1
_DEFAULT_MAPPINGS, _DEFAULT_TRIM_BYTES = 65536, 128 * 1024


def _available() -> int:
    """Memory without swapping; Linux counts what caches can give back, elsewhere half of all is assumed."""
    try:
        return _field(Path("/proc/meminfo"), "MemAvailable:") * 1024
    except (OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _left_to_container(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory up to the limit of a control group, whose file cache can be given back; None if there is no limit."""
    try:
        limit, used = (int((group / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        return limit - used + _field(group / "memory.stat", "file")
    except (OSError, ValueError):  # no such group, or no number: "max"
        return None


def _field(file: Path, name: str) -> int:
    for line in file.read_text(encoding="ascii").splitlines():
        words = line.split()
        if words[:1] == [name]:
            return int(words[1])
    msg = f"{file} has no {name}"
    raise ValueError(msg)
