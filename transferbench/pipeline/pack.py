"""`tb datasets pack`: a dataset to pretrain on → few large files that load faster."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferbench.data import packed_in
from transferbench.data.dataset import SurveyedDataset
from transferbench.data.pack.layout import DOCUMENT, PARTS, Pack, PackOptions, is_pack
from transferbench.data.pack.writing import PartImages, expected_bytes, software, write_shard
from transferbench.data.random_splits import ranked
from transferbench.errors import DatasetError, StorageError
from transferbench.files import publish, sweep
from transferbench.home import Home
from transferbench.locks import writer_lock
from transferbench.pipeline.datasets import DataOptions, mending, pack_folder, place_of
from transferbench.pipeline.datasets import source as open_source
from transferbench.progress import Progress

_ORDER_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What `pack` did, or would do.

    Parameters
    ----------
    folder : Path
        Of the pack.
    expected_bytes : int
        The estimate from a few images.
    pack : Pack or None
        None when only the estimate was asked for.
    """

    folder: Path
    expected_bytes: int
    pack: Pack | None


def pack(
    name: str,
    home: Home,
    data: DataOptions,
    options: PackOptions,
    *,
    out: Path | None = None,
    only_estimate: bool = False,
    progress: Progress,
) -> Packed:
    """Pack a dataset to pretrain on; go on with a pack that was stopped.

    Parameters
    ----------
    name : str
        Of the dataset.
    home : Home
        The work folder.
    data : DataOptions
        Where its files are, and how many are wanted.
    options : PackOptions
        How.
    out : Path, optional
        Folder of the pack, instead of one in the work folder.
    only_estimate : bool
        Whether to say only how large the pack will be.
    progress : Progress
        Told after every image.

    Returns
    -------
    Packed
        With the document of the pack, which is written last.

    Raises
    ------
    DatasetError
        If the dataset comes without files, is a pack itself, or an image is damaged.
    StorageError
        If the disk has not the room, or another process writes this pack.
    """
    folder = (out or pack_folder(name, home, options.short_side)).expanduser().absolute()
    parts, classes, dataset = _images(name, home, data)
    with mending(name, data):
        expected = expected_bytes(parts, options)
    n_images = sum(len(part.ids) for part in parts)
    progress.say(
        f"{n_images:,} images of {name} at short side {options.short_side}: about {_told(expected)} in {folder}"
    )
    if only_estimate:
        return Packed(folder=folder, expected_bytes=expected, pack=None)
    with writer_lock(folder, f"the pack {folder.name}"):
        sweep(folder)
        _refuse_small_disk(folder, expected)
        (folder / DOCUMENT).unlink(missing_ok=True)  # until the new one is whole, there is no pack
        shards, kept = [], 0
        with mending(name, data), progress.task(f"packing {name}", n_images) as task:
            for part in parts:
                for number, (first, images) in enumerate(part.shards(options.shard_images)):
                    shard, of_shard = write_shard(folder, number, first, images, options, task.advance)
                    shards.append(shard)
                    kept += of_shard
        made = Pack(
            dataset=dataset,
            classes=classes,
            options=options,
            kept=kept,
            rescaled=n_images - kept,
            software=software(),
            shards=tuple(shards),
        )
        _remove_others(folder, made)
        publish(folder / DOCUMENT, made.to_bytes())
    progress.say(f"wrote {folder}: {kept:,} original files, {made.rescaled:,} rescaled images")
    return Packed(folder=folder, expected_bytes=expected, pack=made)


def packed_row(packed: Packed) -> dict[str, Any]:
    """Tell what was done in one row.

    Parameters
    ----------
    packed : Packed
        What `pack` returned.

    Returns
    -------
    dict
        Values by column; the bytes are the estimate as long as nothing is written.
    """
    made = packed.pack
    if made is None:
        return {
            "pack": str(packed.folder),
            "bytes": packed.expected_bytes,
            "sha256": None,
            "kept": None,
            "rescaled": None,
        }
    n_bytes = sum(shard.n_bytes for shard in made.shards)
    return {
        "pack": str(packed.folder),
        "bytes": n_bytes,
        "sha256": made.sha256,
        "kept": made.kept,
        "rescaled": made.rescaled,
    }


def _images(name: str, home: Home, data: DataOptions) -> tuple[tuple[PartImages, ...], tuple[str, ...], str]:
    place = place_of(name, home, data)
    if is_pack(packed_in(name, place)):
        msg = f"{packed_in(name, place)}: is a pack already; give the folder of the original images as --data-dir"
        raise DatasetError(msg)
    source = open_source(name, home, DataOptions(place.folder, data.limit))
    if not isinstance(source, SurveyedDataset):
        msg = f"{name} comes with a package and has no files to pack; it loads fast as it is"
        raise DatasetError(msg)
    parts = []
    for part, members in zip(PARTS, source.training_and_held_out(), strict=True):
        ids = tuple(ranked(members, _ORDER_SEED, PARTS.index(part)))
        files = tuple(str(source.file(image_id)) for image_id in ids)
        parts.append(PartImages(part, ids, files, tuple(map(int, source.labels.of(ids)))))
    return tuple(parts), source.labels.classes, source.record.name


def _refuse_small_disk(folder: Path, expected: int) -> None:
    there = sum(path.stat().st_size for path in folder.glob("*.tar"))
    free = shutil.disk_usage(folder).free
    if expected - there > free:
        msg = (
            f"a pack of about {_told(expected)} does not fit: {_told(free)} are free.\n  Where: {folder}\n"
            "  Give a folder on a larger disk as --out, or a smaller --short-side or --quality."
        )
        raise StorageError(msg)


def _remove_others(folder: Path, made: Pack) -> None:
    """Remove shards of an earlier pack that had more of them."""
    wanted = {shard.tar(folder) for shard in made.shards}
    for tar in folder.glob("*-[0-9][0-9][0-9][0-9][0-9][0-9].tar"):
        if tar not in wanted:
            tar.with_suffix(".json").unlink(missing_ok=True)
            tar.unlink()


def _told(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"
