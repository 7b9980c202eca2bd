"""What is known of a file before it is here: its size and hashes, and how a file is held against them."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Size and hashes of a file, as far as its publisher tells them.

    Parameters
    ----------
    sha256 : str or None
        64 hexadecimal digits, or as many leading ones (8 at least) as its publisher gives.
    md5 : str or None
        32 hexadecimal digits.
    size : int or None
        In bytes.
    sha384 : str or None
        96 hexadecimal digits; a few publishers give this one.

    Raises
    ------
    ValueError
        If a hash is not hexadecimal or of the wrong length.
    """

    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    sha384: str | None = None

    def __post_init__(self) -> None:
        lengths = {"sha256": (8, 64), "sha384": (96, 96), "md5": (32, 32)}
        for name, text in self._hashes():
            shortest, longest = lengths[name]
            if text is not None and not re.fullmatch(rf"[0-9a-f]{{{shortest},{longest}}}", text):
                msg = f"{name} {text!r} is not {longest} hexadecimal digits in lower case"
                raise ValueError(msg)

    @property
    def has_hash(self) -> bool:
        """Whether the content is known, not only its length."""
        return any(text is not None for _, text in self._hashes())

    def problem(self, path: Path) -> str | None:
        """Compare a file with what is known.

        Parameters
        ----------
        path : Path
            An existing file.

        Returns
        -------
        str or None
            The first difference; None when there is none.
        """
        found = path.stat().st_size
        if self.size not in {None, found}:
            return f"it has {found:,} bytes instead of {self.size:,}"
        for name, expected in self._hashes():
            if expected is not None and not (digest := _hash(path, name)).startswith(expected):
                return f"its {name} is {digest} instead of {expected}"
        return None

    def __str__(self) -> str:
        known = [
            f"{self.size:,} bytes" if self.size is not None else "",
            *(f"{name} {text}" for name, text in self._hashes() if text),
        ]
        return ", ".join(filter(None, known)) or "neither size nor hash is published"

    def _hashes(self) -> tuple[tuple[str, str | None], ...]:
        return ("sha256", self.sha256), ("sha384", self.sha384), ("md5", self.md5)


def _hash(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, name).hexdigest()
