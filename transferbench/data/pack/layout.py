"""What is written in a pack beside its tars: the document of the whole, and the index of a shard."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from transferbench.errors import DatasetError
from transferbench.types.identity import sha256_of
from transferbench.types.preprocessing import Interpolation

DOCUMENT = "pack.json"
PARTS: tuple["PackPart", "PackPart"] = ("training", "held_out")
_PACK_FORMAT = "transferbench.pack.1"
_SHARD_FORMAT = "transferbench.pack.shard.1"

PackPart = Literal["training", "held_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """How a pack is made; every value can change its bytes.

    Parameters
    ----------
    short_side : int
        Images with a larger short side are rescaled to this, in px; the others keep their file, byte for byte.
    quality : int
        Of the JPEGs of rescaled images, 1-100; chroma is stored at half the resolution, as in most photographs.
    interpolation : {"bicubic", "bilinear"}
        Of the rescaling.
    shard_images : int
        Images in every shard but the last.
    """

    short_side: int
    quality: int
    interpolation: Interpolation
    shard_images: int


@dataclass(frozen=True, slots=True)
class Member:
    """One image in a shard.

    Parameters
    ----------
    id : str
        In the dataset.
    class_number : int
        From 0.
    offset, length : int
        Of its file in the tar, in bytes.
    crc32 : int
        Of its file.
    kept : bool
        Whether it is the original file, byte for byte.
    """

    id: str
    class_number: int
    offset: int
    length: int
    crc32: int
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The index of one tar.

    Parameters
    ----------
    key : str
        Hash of everything that decided the tar.
    n_bytes : int
        Of the tar.
    sha256 : str
        Of the tar.
    members : tuple of Member
        In the order of the tar.
    """

    key: str
    n_bytes: int
    sha256: str
    members: tuple[Member, ...]

    def to_bytes(self) -> bytes:
        """Return the content of the index file.

        Returns
        -------
        bytes
            JSON, one image to a line.
        """
        head = {"format": _SHARD_FORMAT, "key": self.key, "bytes": self.n_bytes, "sha256": self.sha256}
        rows = [[m.id, m.class_number, m.offset, m.length, m.crc32, int(m.kept)] for m in self.members]
        lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        return f'{json.dumps(head)[:-1]}, "members": [\n{lines}\n]}}\n'.encode()

    @classmethod
    def read(cls, path: Path) -> "Shard":
        """Read an index file.

        Parameters
        ----------
        path : Path
            Of the index.

        Returns
        -------
        Shard
            Offsets and lengths are inside the tar.

        Raises
        ------
        DatasetError
            If it is missing or damaged.
        """
        content = _read(path, _SHARD_FORMAT)
        try:
            members = tuple(Member(i, k, at, n, crc, bool(kept)) for i, k, at, n, crc, kept in content["members"])
            shard = cls(key=content["key"], n_bytes=content["bytes"], sha256=content["sha256"], members=members)
            inside = all(m.offset >= 0 and m.length > 0 and m.offset + m.length <= shard.n_bytes for m in members)
        except (KeyError, TypeError, ValueError) as problem:
            raise DatasetError(_damaged(path, str(problem))) from problem
        if not inside:
            raise DatasetError(_damaged(path, "an image lies outside the tar"))
        return shard


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardName:
    """A shard in the document of its pack.

    Parameters
    ----------
    part : {"training", "held_out"}
        Which images it holds.
    number : int
        From 0, within the part.
    images, n_bytes : int
        How many, and how large the tar is.
    sha256 : str
        Of the tar.
    """

    part: PackPart
    number: int
    images: int
    n_bytes: int
    sha256: str

    def tar(self, folder: Path) -> Path:
        """Return the path of the tar.

        Parameters
        ----------
        folder : Path
            Of the pack.

        Returns
        -------
        Path
            The index has the same name with the suffix ``.json``.
        """
        return shard_path(folder, self.part, self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The document of a pack, written last.

    Parameters
    ----------
    dataset : str
        Name of what was packed.
    classes : tuple of str
        In the order of their numbers.
    options : PackOptions
        How it was made.
    kept, rescaled : int
        Images that are original files, and images that were rescaled and compressed anew.
    software : dict of str to str
        Versions of what decoded and compressed.
    shards : tuple of ShardName
        Training first.
    """

    dataset: str
    classes: tuple[str, ...]
    options: PackOptions
    kept: int
    rescaled: int
    software: dict[str, str]
    shards: tuple[ShardName, ...]

    @property
    def sha256(self) -> str:
        """Identity of what is read from the pack: classes and the bytes of every shard."""
        return sha256_of([self.dataset, self.classes, [[s.part, s.number, s.sha256] for s in self.shards]])

    def to_bytes(self) -> bytes:
        """Return the content of ``pack.json``.

        Returns
        -------
        bytes
            JSON.
        """
        return (json.dumps({"format": _PACK_FORMAT, "sha256": self.sha256, **asdict(self)}, indent=1) + "\n").encode()

    @classmethod
    def read(cls, folder: Path) -> "Pack":
        """Read the document of a pack.

        Parameters
        ----------
        folder : Path
            Of the pack.

        Returns
        -------
        Pack
            Its shards are not looked at.

        Raises
        ------
        DatasetError
            If it is missing or damaged.
        """
        path = folder / DOCUMENT
        content = _read(path, _PACK_FORMAT)
        stated = content.pop("sha256", None)
        content.pop("format")
        try:
            pack = cls(
                **content
                | {
                    "classes": tuple(content["classes"]),
                    "options": PackOptions(**content["options"]),
                    "shards": tuple(ShardName(**shard) for shard in content["shards"]),
                }
            )
        except (KeyError, TypeError) as problem:
            raise DatasetError(_damaged(path, str(problem))) from problem
        if pack.sha256 != stated:
            raise DatasetError(_damaged(path, "its hash is not the stated one"))
        return pack


def is_pack(folder: Path) -> bool:
    """Tell whether a folder holds a finished pack.

    Parameters
    ----------
    folder : Path
        Any.

    Returns
    -------
    bool
        True if the document is there, which is written last.
    """
    return (folder / DOCUMENT).is_file()


def shard_path(folder: Path, part: PackPart, number: int) -> Path:
    """Name a shard.

    Parameters
    ----------
    folder : Path
        Of the pack.
    part : {"training", "held_out"}
        Which images it holds.
    number : int
        From 0.

    Returns
    -------
    Path
        Of the tar.
    """
    return folder / f"{part}-{number:06d}.tar"


def _read(path: Path, format_name: str) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError as problem:
        msg = f"{path}: is missing from the pack. tb datasets pack writes it again."
        raise DatasetError(msg) from problem
    except (OSError, ValueError) as problem:
        raise DatasetError(_damaged(path, str(problem))) from problem
    if not isinstance(content, dict) or content.get("format") != format_name:
        raise DatasetError(_damaged(path, f"it is not of the format {format_name}"))
    return content


def _damaged(path: Path, why: str) -> str:
    return f"{path}: is damaged: {why}.\n  Delete it and run tb datasets pack again; shards that are whole are kept."
