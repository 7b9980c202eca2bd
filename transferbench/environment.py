"""On what a number was computed: versions, machine, state of the code. Asks package metadata, imports nothing heavy."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import transferbench

_PACKAGES = (
    "torch", "torchvision", "numpy", "scipy", "scikit-learn", "numba", "h5py", "pillow", "safetensors", "ncnn"
)  # fmt: skip


def describe() -> dict[str, str]:
    """Describe program, libraries and machine.

    Returns
    -------
    dict of str to str
        Recorded beside every result and block; never part of a key.
    """
    found = {
        "transferbench": transferbench.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": str(cores()),
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_commit() -> str | None:
    """Name the commit of the checkout that this program runs from.

    Returns
    -------
    str or None
        With ``-dirty`` when tracked files have changed; None for an installed package.
    """
    top = Path(__file__).resolve().parent.parent
    if not (top / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],  # noqa: S607 - the user's own git
            cwd=top,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def cores() -> int:
    """Count the cores this process may use.

    Returns
    -------
    int
        A container or ``taskset`` can allow fewer than the machine has, and processes side by side share them.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, allowed // _processes)


_processes = 1


def share_with(processes: int) -> None:
    """Take note that this process is one of several that do the same work on this machine side by side.

    Parameters
    ----------
    processes : int
        How many, this one included. From now on `cores` and `memory_bytes` tell of its share.
    """
    global _processes  # noqa: PLW0603 - a fact about the process
    _processes = processes


def memory_bytes() -> int:
    """Tell how much memory this process may plan with.

    Returns
    -------
    int
        The machine's, or its share of it.
    """
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _processes
