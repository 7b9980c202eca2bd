"""A block: the descriptors of a dataset by one net at one scale, as a folder of immutable shards and one manifest."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transferbench.cache.manifest import MANIFEST, REMEDY, read_manifest
from transferbench.cache.reading import Reading, read_shard
from transferbench.cache.shard import ROWS_PER_SHARD, Shard
from transferbench.cache.writing import ListedShard, publish_manifest, write_shard
from transferbench.errors import CacheError, HeldError
from transferbench.locks import writer_lock
from transferbench.types.arrays import Float32
from transferbench.types.descriptors import Descriptors, DescriptorSpec
from transferbench.types.identity import sha256_of

_KEY_DIGITS = 16
_CLAIMS = ".claims"
_NOTHING: Mapping[str, str] = MappingProxyType({})
_FINISH_TIMEOUT_S = 600.0
"""Hashing a block takes seconds; whoever waits longer waits for a stopped process."""


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
    _written: dict[int, ListedShard] = field(default_factory=dict, compare=False, repr=False)
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

    def shard_path(self, index: int) -> Path:
        """Name the file of a shard.

        Parameters
        ----------
        index : int
            From 0.

        Returns
        -------
        Path
            Be it there or not.
        """
        return self.folder / f"rows-{index:05d}.h5"

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
        return all(self.shard_path(entry["shard"]).is_file() for entry in manifest["shards"])

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
            path = self.shard_path(index)
            if not path.is_file():
                missing.append(index)
                continue
            try:
                read_shard(self, index, data=path.read_bytes())
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
        return [index for index in range(self.n_shards) if not self.shard_path(index).is_file()]

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
                yield not self.shard_path(index).is_file()

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
        self._written[index] = write_shard(self, index, array, skipped)

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
                publish_manifest(self, self._written, environment)

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
                found |= read_shard(self, index).skipped
        return dict(sorted(found.items()))

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
        yield from self._reading().shards()

    def _reading(self) -> Reading:
        if not (self.folder / MANIFEST).is_file():
            msg = f"the block {self.folder} is not complete"
            raise CacheError(msg)
        return Reading(self, self._manifest())

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
        return self._reading().whole()

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
