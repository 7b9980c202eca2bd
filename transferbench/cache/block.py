"""A block: the descriptors of a dataset by one net at one scale, as a folder of immutable shards and one manifest."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from transferbench.cache.manifest import MANIFEST, REMEDY, read_manifest, write_manifest
from transferbench.cache.parallel import in_order
from transferbench.cache.shard import ROWS_PER_SHARD, Shard, decode, encode
from transferbench.errors import CacheError, DatasetError, HeldError
from transferbench.files import publish, storing, sweep, sync_folder, writer_lock
from transferbench.types.arrays import Float32
from transferbench.types.descriptors import Descriptors, DescriptorSpec, check_rows
from transferbench.types.identity import sha256_of

_KEY_DIGITS = 16
_CLAIMS = ".claims"
_NOTHING: Mapping[str, str] = MappingProxyType({})
_FINISH_TIMEOUT_S = 600.0
"""Hashing a block takes seconds; whoever waits longer waits for a stopped process."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """What the manifest says of a shard, and which file it was said of."""

    file: tuple[int, int, int]
    entry: dict[str, Any]
    dimensions: int
    skipped: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Block:
    """Where the descriptors of one spec are, or will be.

    Parameters
    ----------
    folder : Path
        Of this block alone; its name holds the spec's key.
    spec : DescriptorSpec
        What made the descriptors.
    ids : tuple of str
        Sorted ids of all images; of those that were skipped there is no row.
    """

    folder: Path
    spec: DescriptorSpec
    ids: tuple[str, ...]
    _written: dict[int, _Listed] = field(default_factory=dict, compare=False, repr=False)
    """Shards that were published by this very object: `finish` need not read them again."""

    @classmethod
    def of(cls, features: Path, spec: DescriptorSpec, ids: tuple[str, ...]) -> "Block":
        """Work out the folder of a spec.

        Parameters
        ----------
        features : Path
            The cache's root.
        spec : DescriptorSpec
            Names and key decide the path.
        ids : tuple of str
            All rows, sorted.

        Returns
        -------
        Block
            Nothing is read or written.
        """
        net = f"{spec.net.name}-{spec.weights_sha256[:8] or 'none'}"
        flip = "-flip" if spec.flip else ""
        name = f"q{spec.short_side_px:04d}-{spec.region}{flip}-{spec.key()[:_KEY_DIGITS]}"
        return cls(features / spec.dataset / net / name, spec, ids)

    @property
    def n_shards(self) -> int:
        """How many shards hold all rows."""
        return -(-len(self.ids) // ROWS_PER_SHARD)

    def rows(self, index: int) -> tuple[str, ...]:
        """Return the ids of a shard.

        Parameters
        ----------
        index : int
            From 0.

        Returns
        -------
        tuple of str
            Up to 256 ids: the rule is the same whatever the number of writers.
        """
        return self.ids[index * ROWS_PER_SHARD : (index + 1) * ROWS_PER_SHARD]

    def is_complete(self) -> bool:
        """Tell whether a valid manifest lists every row and its shards are there.

        Returns
        -------
        bool
            Contents are checked when they are read, not here.

        Raises
        ------
        CacheError
            If the manifest is damaged or belongs to something else.
        """
        if not (self.folder / MANIFEST).is_file():
            return False
        manifest = self._manifest()
        return all(self._shard_path(entry["shard"]).is_file() for entry in manifest["shards"])

    def missing_shards(self) -> list[int]:
        """Find what is still to be computed. Damaged shards of an unfinished block are removed.

        Returns
        -------
        list of int
            Indices, ascending.
        """
        if self.is_complete():
            return []
        missing = []
        for index in range(self.n_shards):
            path = self._shard_path(index)
            if not path.is_file():
                missing.append(index)
                continue
            try:
                self._decode(index, path.read_bytes())
            except CacheError:
                # Nothing vouches for an unfinished block's shard but its own hash; what fails it is computed again.
                path.unlink()
                missing.append(index)
        return missing

    def absent_shards(self) -> list[int]:
        """List shards whose file is not there; looks at no content.

        Returns
        -------
        list of int
            Indices, ascending.
        """
        return [index for index in range(self.n_shards) if not self._shard_path(index).is_file()]

    @contextmanager
    def claim(self, index: int) -> Iterator[bool]:
        """Try to be the one process that computes a shard.

        Any number of processes may write a block, each another shard. A claim dies with its process.

        Parameters
        ----------
        index : int
            Which shard.

        Yields
        ------
        bool
            False if another process is at it, or has published it meanwhile.
        """
        with ExitStack() as held:
            try:
                held.enter_context(self._claim_lock(index))
            except HeldError:
                yield False
            else:
                yield not self._shard_path(index).is_file()

    def refuse_claim(self, index: int) -> None:
        """Say who is at a shard.

        Parameters
        ----------
        index : int
            Which shard.

        Raises
        ------
        HeldError
            If another process is at it; the message names host and process.
        """
        with self._claim_lock(index):
            return

    def _claim_lock(self, index: int) -> AbstractContextManager[None]:
        return writer_lock(self.folder / _CLAIMS / f"{index:05d}", f"shard {index} of the block {self.folder.name}")

    def write(self, index: int, array: Float32, skipped: Mapping[str, str] = _NOTHING) -> None:
        """Publish one shard.

        Parameters
        ----------
        index : int
            Which rows.
        array : ndarray of shape (len(rows) - len(skipped), D), float32
            Finite, no zero row.
        skipped : mapping of str to str
            Ids among the shard's that have no row, and why: their images cannot be decoded. `array` does not count
            where all of them are skipped.

        Raises
        ------
        FeatureError
            If a row is zero or not finite; the image is named.
        StorageError
            If the disk does not take it.
        ValueError
            If a skipped id is none of the shard's.
        """
        if strangers := skipped.keys() - set(self.rows(index)):
            msg = f"{min(strangers)!r} is no image of shard {index}"
            raise ValueError(msg)
        ids = tuple(i for i in self.rows(index) if i not in skipped)
        if not ids:  # whoever skips everything never learns how long a row is
            array = np.empty((0, 0), dtype=np.float32)
        check_rows(ids, array, f"{self.spec.net} at {self.spec.short_side_px} px")
        shard = Shard(index, ids, array, dict(skipped))
        data = encode(shard, self.spec)
        with ThreadPoolExecutor(1) as beside:  # the disk and the hash each take about as long
            digest = beside.submit(hashlib.sha256, data)
            # A power failure may take the name again, and the shard is computed anew; `finish` ends that.
            publish(self._shard_path(index), data, name_at_once=False)
        self._written[index] = self._listed(shard, len(data), digest.result().hexdigest())

    def finish(self, environment: dict[str, str]) -> None:
        """Publish the manifest: from now on readers see the block.

        Parameters
        ----------
        environment : dict of str to str
            Versions and device that computed the rows; recorded, not part of the key.

        Raises
        ------
        CacheError
            If a shard is missing or damaged.
        DatasetError
            If every image was skipped.
        """
        with writer_lock(self.folder, f"the manifest of the block {self.folder.name}", timeout_s=_FINISH_TIMEOUT_S):
            if not self.is_complete():
                # The claims' files stay: others may be about to ask for one.
                self._publish_manifest(environment)

    def _publish_manifest(self, environment: dict[str, str]) -> None:
        sweep(self.folder)
        listed = list(in_order(self._list, range(self.n_shards)))
        skipped = {i: reason for shard in listed for i, reason in shard.skipped.items()}
        if len(skipped) == len(self.ids):
            msg = f"{self.folder}: none of the {len(self.ids)} images could be decoded; delete the folder"
            raise DatasetError(msg)
        with storing(self.folder, 0):
            sync_folder(self.folder)
        write_manifest(
            self.folder,
            {
                "key": self.spec.key(),
                "spec": self.spec.to_dict(),
                "rows": len(self.ids) - len(skipped),
                "dimensions": max(shard.dimensions for shard in listed),
                "ids_sha256": sha256_of(self.ids),
                "shards": [shard.entry for shard in listed],
                **({"skipped": skipped} if skipped else {}),
                "environment": environment,
            },
        )

    def skipped(self) -> dict[str, str]:
        """List the images of a complete block that have no row.

        Returns
        -------
        dict of str to str
            Id and why it was skipped, in order of ids.

        Raises
        ------
        CacheError
            If the manifest is missing or damaged.
        """
        return dict(sorted(self._manifest().get("skipped", {}).items()))

    def skipped_so_far(self) -> dict[str, str]:
        """List the images that have no row in the shards that are there, be the block complete or not.

        Returns
        -------
        dict of str to str
            Id and why it was skipped, in order of ids. Damaged shards say nothing.

        Raises
        ------
        CacheError
            If there is a manifest and it is damaged.
        """
        if self.is_complete():
            return self.skipped()
        found: dict[str, str] = {}
        for index in range(self.n_shards):
            with suppress(CacheError):
                found |= self._decode(index, self._read_bytes(index)).skipped
        return dict(sorted(found.items()))

    def _list(self, index: int) -> _Listed:
        """Make what the manifest says of a shard: read it, unless this object has published this very file."""
        known = self._written.get(index)
        if known is not None and known.file == self._identity(index):
            return known
        data = self._read_bytes(index)
        return self._listed(self._decode(index, data), len(data), hashlib.sha256(data).hexdigest())

    def _listed(self, shard: Shard, n_bytes: int, sha256: str) -> _Listed:
        entry = {
            "shard": shard.index,
            "file": self._shard_path(shard.index).name,
            "bytes": n_bytes,
            "sha256": sha256,
        }
        return _Listed(self._identity(shard.index), entry, shard.array.shape[1], shard.skipped)

    def _identity(self, index: int) -> tuple[int, int, int]:
        """Tell files apart that had the same name one after the other."""
        try:
            found = self._shard_path(index).stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return found.st_ino, found.st_mtime_ns, found.st_size

    def environment(self) -> dict[str, str]:
        """Tell on what a complete block was computed.

        Returns
        -------
        dict of str to str
            Versions, device and engine.

        Raises
        ------
        CacheError
            If the manifest is missing or damaged.
        """
        found: dict[str, str] = self._manifest()["environment"]
        return found

    def shards(self) -> Iterator[Shard]:
        """Read a complete block shard by shard, checking every byte.

        Yields
        ------
        Shard
            In row order; one whose images were all skipped has no rows and no dimensions.

        Raises
        ------
        CacheError
            If the block is incomplete, or the first damaged shard, by name.
        """
        self._refuse_incomplete()
        yield from in_order(self._vouched, self._manifest()["shards"])

    def _refuse_incomplete(self) -> None:
        if not (self.folder / MANIFEST).is_file():
            msg = f"the block {self.folder} is not complete"
            raise CacheError(msg)

    def _vouched(self, entry: dict[str, Any]) -> Shard:
        """Read a shard of a complete block, of which the manifest has the hash."""
        data = self._read_bytes(entry["shard"])
        check_hash(self._shard_path(entry["shard"]), data, entry["sha256"])
        return self._decode(entry["shard"], data, vouched=True)

    def read(self) -> Descriptors:
        """Read a complete block.

        Returns
        -------
        Descriptors
            All rows in order; skipped images have none.

        Raises
        ------
        CacheError
            As `shards`.
        """
        self._refuse_incomplete()
        manifest = self._manifest()
        lacking = manifest.get("skipped", {})
        ids = tuple(i for i in self.ids if i not in lacking)
        starts = np.cumsum([0] + [sum(i not in lacking for i in self.rows(k)) for k in range(self.n_shards)])
        rows = _Rows(len(ids))

        def place(entry: dict[str, Any]) -> None:
            shard, (start, stop) = self._vouched(entry), starts[entry["shard"] :][:2]
            if shard.ids != ids[start:stop]:
                msg = f"{self._shard_path(shard.index)}: its skipped images are not those of the manifest. {REMEDY}"
                raise CacheError(msg)
            if shard.ids:
                rows.put(start, shard.array)

        for _ in in_order(place, manifest["shards"]):
            pass
        if rows.array is None:
            msg = f"the block {self.folder} has no rows"
            raise CacheError(msg)
        return Descriptors(ids=ids, array=rows.array, spec=self.spec)

    def _shard_path(self, index: int) -> Path:
        return self.folder / f"rows-{index:05d}.h5"

    def _read_bytes(self, index: int) -> bytes:
        path = self._shard_path(index)
        try:
            return path.read_bytes()
        except OSError as problem:
            msg = (
                f"{path}: cannot be read: {problem.strerror}. Run `tb extract` with the same options "
                "again; only its rows are computed anew."
            )
            raise CacheError(msg) from problem

    def _decode(self, index: int, data: bytes, *, vouched: bool = False) -> Shard:
        where = str(self._shard_path(index))
        shard = decode(data, self.spec, index, where, vouched=vouched)
        if shard.all_ids != self.rows(index):
            msg = f"{where}: its ids are not rows {index * ROWS_PER_SHARD} and up of this dataset"
            raise CacheError(msg)
        return shard

    def _manifest(self) -> dict[str, Any]:
        """Read the manifest and check that it is the one of these rows."""
        manifest = read_manifest(self.folder)
        path = self.folder / MANIFEST
        if manifest["spec"] != self.spec.to_dict() or manifest["ids_sha256"] != sha256_of(self.ids):
            msg = f"{path}: belongs to other descriptors than its folder's name says. {REMEDY}"
            raise CacheError(msg)
        if [entry["shard"] for entry in manifest["shards"]] != list(range(self.n_shards)):
            msg = f"{path}: does not list the {self.n_shards} shards of {len(self.ids)} rows. {REMEDY}"
            raise CacheError(msg)
        return manifest


class _Rows:
    """Rows of shards that come in any order, from several threads; each goes to its place at once."""

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._making = threading.Lock()
        self.array: Float32 | None = None

    def put(self, start: int, array: Float32) -> None:
        with self._making:  # a shard tells how long rows are; no number of a file is trusted before it was read
            if self.array is None:
                self.array = np.empty((self._n_rows, array.shape[1]), dtype=np.float32)
        self.array[start : start + len(array)] = array


def check_hash(path: Path, data: bytes, stated: str) -> None:
    """Compare a shard's bytes with the manifest.

    Parameters
    ----------
    path : Path
        Of the shard, for the message.
    data : bytes
        Its content.
    stated : str
        The manifest's SHA-256.

    Raises
    ------
    CacheError
        If they differ.
    """
    if (found := hashlib.sha256(data).hexdigest()) != stated:
        msg = (
            f"{path}: is damaged: sha256 {found}, the manifest says {stated}.\n"
            "  Delete that file and run `tb extract` with the same options again; only its rows are computed anew."
        )
        raise CacheError(msg)
