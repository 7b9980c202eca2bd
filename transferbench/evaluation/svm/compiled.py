"""Inner loops compiled by numba, and where the compiled code is kept."""

import hashlib
import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.errors import NumbaWarning

# Sums may be reordered, so that they fill vector registers; unlike full fast-math this keeps infinities, which mark
# coefficients without an upper bound.
_REORDERED = {"contract", "reassoc", "nsz"}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function on its first call, without Python's lock, and keep the machine code for the next process.

    numba would write beside the source file, which an installed package may share with other users and machines. The
    code goes to the user's own cache folder instead: to a folder named after the sources in ``NUMBA_CACHE_DIR`` if set,
    otherwise in ``transferbench-numba`` in ``XDG_CACHE_HOME`` or ``~/.cache``. Where that cannot be written, every
    process compiles for itself.

    Parameters
    ----------
    function : callable
        Of numbers and arrays.

    Returns
    -------
    callable
        The same function, compiled. What it calls becomes part of it: of a copy that stays a function of its own, the
        process that compiles would run another one, with sums in another order, than those that load the code.
    """
    settings: dict[str, Any] = {
        "nogil": True, "fastmath": _REORDERED, "error_model": "numpy", "forceinline": True
    }  # fmt: skip
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str((Path(before) if before else _folder()) / _sources())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NumbaWarning)
            kept: Callable[..., Any] = numba.njit(cache=_writable(Path(numba.config.CACHE_DIR)), **settings)(function)
    finally:
        numba.config.CACHE_DIR = before
    return kept


@cache
def _sources() -> str:
    """Name this state of the compiled code.

    numba compiles a function again when its own file changes, not when a function that it calls does in another file.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "transferbench-numba"


@cache
def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
