"""A block: the descriptors of a dataset by one net at one scale, as a folder of immutable shards and one manifest."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferbench.cache.shard import ENCODING_TYPE, ENCODING_VERSION, ROWS_PER_SHARD, Shard, decode, encode
from transferbench.errors import CacheError
from transferbench.files import publish, sweep, writer_lock
from transferbench.types import Descriptors, DescriptorSpec, Float32, check_rows, sha256_of

MANIFEST = "manifest.json"
_KEY_DIGITS = 16


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
        Sorted ids of all rows.
    """

    folder: Path
    spec: DescriptorSpec
    ids: tuple[str, ...]

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

    def lock(self) -> AbstractContextManager[None]:
        """Take the only right to write this block.

        Returns
        -------
        context manager
            Raises `StorageError` on entering when another process holds it.
        """
        return writer_lock(self.folder, f"the block {self.folder.name}")

    def write(self, index: int, array: Float32) -> None:
        """Publish one shard.

        Parameters
        ----------
        index : int
            Which rows.
        array : ndarray of shape (len(rows), D), float32
            Finite, no zero row.

        Raises
        ------
        FeatureError
            If a row is zero or not finite; the image is named.
        StorageError
            If the disk does not take it.
        """
        ids = self.rows(index)
        check_rows(ids, array, f"{self.spec.net} at {self.spec.short_side_px} px")
        publish(self._shard_path(index), encode(Shard(index, ids, array), self.spec))

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
        """
        sweep(self.folder)
        shards = []
        dimensions = set()
        for index in range(self.n_shards):
            data = self._read_bytes(index)
            dimensions.add(self._decode(index, data).array.shape[1])
            shards.append(
                {
                    "shard": index,
                    "file": self._shard_path(index).name,
                    "bytes": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            )
        manifest = {
            "format": ENCODING_TYPE,
            "version": ENCODING_VERSION,
            "key": self.spec.key(),
            "spec": self.spec.to_dict(),
            "rows": len(self.ids),
            "dimensions": max(dimensions),
            "ids_sha256": sha256_of(self.ids),
            "shards": shards,
            "environment": environment,
        }
        publish(
            self.folder / MANIFEST, (json.dumps({**manifest, "sha256": sha256_of(manifest)}, indent=1) + "\n").encode()
        )

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
            In row order.

        Raises
        ------
        CacheError
            If the block is incomplete, or the first damaged shard, by name.
        """
        if not (self.folder / MANIFEST).is_file():
            msg = f"the block {self.folder} is not complete"
            raise CacheError(msg)
        for entry in self._manifest()["shards"]:
            data = self._read_bytes(entry["shard"])
            if (found := hashlib.sha256(data).hexdigest()) != entry["sha256"]:
                path = self._shard_path(entry["shard"])
                msg = (
                    f"{path}: is damaged: sha256 {found}, the manifest says {entry['sha256']}.\n"
                    "  Delete that file and run `tb extract` with the same options again; only its "
                    "rows are computed anew."
                )
                raise CacheError(msg)
            yield self._decode(entry["shard"], data)

    def read(self) -> Descriptors:
        """Read a complete block.

        Returns
        -------
        Descriptors
            All rows in order.

        Raises
        ------
        CacheError
            As `shards`.
        """
        shards = list(self.shards())
        ids = tuple(i for shard in shards for i in shard.ids)
        return Descriptors(ids=ids, array=np.concatenate([shard.array for shard in shards]), spec=self.spec)

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

    def _decode(self, index: int, data: bytes) -> Shard:
        where = str(self._shard_path(index))
        shard = decode(data, self.spec, index, where)
        if shard.ids != self.rows(index):
            msg = f"{where}: its ids are not rows {index * ROWS_PER_SHARD} and up of this dataset"
            raise CacheError(msg)
        return shard

    def _manifest(self) -> dict[str, Any]:
        path = self.folder / MANIFEST
        remedy = "Delete it and run `tb extract` with the same options again; intact shards are kept."
        try:
            manifest: dict[str, Any] = json.loads(path.read_bytes())
            stated = manifest.pop("sha256")
        except (OSError, ValueError, KeyError, AttributeError) as problem:
            msg = f"{path}: is damaged: {problem}. {remedy}"
            raise CacheError(msg) from problem
        if sha256_of(manifest) != stated:
            msg = f"{path}: has changed since it was written. {remedy}"
            raise CacheError(msg)
        if manifest.get("version") != ENCODING_VERSION:
            msg = (
                f"{path}: is of format version {manifest.get('version')}; this program reads version "
                f"{ENCODING_VERSION}. {remedy}"
            )
            raise CacheError(msg)
        if manifest["spec"] != self.spec.to_dict() or manifest["ids_sha256"] != sha256_of(self.ids):
            msg = f"{path}: belongs to other descriptors than its folder's name says. {remedy}"
            raise CacheError(msg)
        if [entry["shard"] for entry in manifest["shards"]] != list(range(self.n_shards)):
            msg = f"{path}: does not list the {self.n_shards} shards of {len(self.ids)} rows. {remedy}"
            raise CacheError(msg)
        return manifest
