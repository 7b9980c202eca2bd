"""Which images a training reads, and how they reach the loop: files, a pack of them, or images in memory."""

import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from transferbench.data import Source
from transferbench.data.dataset import SurveyedDataset
from transferbench.data.encoded import Encoded, EncodedPictures, FileImages, LabelledPictures, Picture, WholePicture
from transferbench.data.pack.reading import PackedDataset
from transferbench.errors import TrainingError
from transferbench.training.augment import AugmentOptions
from transferbench.training.batch import Crops
from transferbench.types.preprocessing import Interpolation

_MOST_WORKERS = 16


def training_crops(
    source: Source,
    ids: tuple[str, ...],
    options: AugmentOptions,
    interpolation: Interpolation,
    *,
    exact: bool,
    workers: int = 0,
    pin: bool = False,
) -> Crops:
    """Make the crops of a training, or of the images it is watched on.

    Parameters
    ----------
    source : Source
        Gives images and labels.
    ids : tuple of str
        Which images; row k is id k.
    options : AugmentOptions
        How crops are drawn.
    interpolation : {"bicubic", "bilinear"}
        Of the rescaling.
    exact : bool
        Whether every image is rescaled as a whole from all of its pixels, as for descriptors: for held-out images.
        In training it costs time and changes nothing that matters.
    workers : int
        Processes that decode; ignored for images in memory.
    pin : bool
        Whether a GPU will fetch the crops.

    Returns
    -------
    Crops
        Ready for the loop.

    Raises
    ------
    TrainingError
        If there is no image.
    """
    from transferbench.training.loading import LoadedCrops
    from transferbench.training.rescaling import rescaled

    if not ids:
        msg = f"{source.record.name} has no images to train on or to hold out"
        raise TrainingError(msg)
    encoded = _encoded(source, ids)
    opened = (
        _FromSource(source, ids, interpolation)
        if encoded is None
        else EncodedPictures(encoded, interpolation, exact, rescaled)
    )
    pictures = LabelledPictures(source.labels.of(ids).astype(np.int64), opened)
    return LoadedCrops(pictures, options, workers=0 if encoded is None else workers, pin=pin)


def default_workers(*, device: str, processes: int) -> int:
    """Choose how many processes decode for one process that trains.

    Parameters
    ----------
    device : str
        A torch device.
    processes : int
        That train; those of other machines do not count where torchrun says how many run on this one.

    Returns
    -------
    int
        For a GPU all cores, divided among the processes; on a CPU, whose cores the net needs itself, one.
    """
    if not device.startswith("cuda"):
        return 1
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    return max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0)) // here))


def pixels_of(source: Source) -> dict[str, Any] | None:
    """Say what a training reads instead of the original images.

    Parameters
    ----------
    source : Source
        Opened.

    Returns
    -------
    dict or None
        Of a pack: its hash and how it was made, which help to decide the weights. None for images as distributed.
    """
    if not isinstance(source, PackedDataset):
        return None
    pack = source.pack
    return {"kind": "pack", "sha256": pack.sha256, **asdict(pack.options), "rescaled": pack.rescaled, "kept": pack.kept}


def _encoded(source: Source, ids: tuple[str, ...]) -> Encoded | None:
    if isinstance(source, PackedDataset):
        return source.encoded(ids)
    if isinstance(source, SurveyedDataset):
        return FileImages([str(source.file(image_id)) for image_id in ids])
    return None


@dataclass(frozen=True, slots=True)
class _FromSource:
    """Images that a source has in memory."""

    source: Source
    ids: tuple[str, ...]
    interpolation: Interpolation

    def __call__(self, row: int) -> Picture:
        return WholePicture(self.source.image(self.ids[row]), self.interpolation)
