"""A trial with a few images of every class: ``--limit``."""

from collections.abc import Iterable

from transferbench.data.protocols import RandomSplits
from transferbench.data.random_splits import ranked
from transferbench.data.record import DatasetRecord
from transferbench.errors import DatasetError
from transferbench.types.labels import ClassLabels, Labels


def first_of_every_class(labels: Labels, ids: Iterable[str], n: int) -> tuple[str, ...]:
    """Choose a few images for a trial.

    Parameters
    ----------
    labels : ClassLabels or MultiLabels
        Of the labelled ones; the others are chosen as a class of their own.
    ids : iterable of str
        To choose from.
    n : int
        Per class: the first by rank that show it.

    Returns
    -------
    tuple of str
        Sorted.
    """
    counts: dict[int, int] = {}
    chosen = []
    for image_id in ranked(ids, 0, 0):
        classes = _classes_of(labels, image_id)
        if any(counts.get(k, 0) < n for k in classes):
            chosen.append(image_id)
            for k in classes:
                counts[k] = counts.get(k, 0) + 1
    return tuple(sorted(chosen))


def trial_record(record: DatasetRecord, limit: int) -> DatasetRecord:
    """Return the record of a trial with a few images.

    Parameters
    ----------
    record : DatasetRecord
        Of the whole dataset.
    limit : int
        Images of every class, in every part.

    Returns
    -------
    DatasetRecord
        Its title says that it is a trial; random splits shrink with the images.

    Raises
    ------
    DatasetError
        If the limit leaves nothing to divide.
    """
    protocol = record.protocol
    if isinstance(protocol, RandomSplits):
        if limit < 3:
            msg = f"--limit {limit} leaves no images to fit on, to choose C and to test; use 3 or more"
            raise DatasetError(msg)
        train = min(protocol.train_per_class, max(2, 2 * limit // 3))
        protocol = protocol.model_copy(update={"train_per_class": train, "sha256": None})
    title = f"{record.title} (TRIAL: up to {limit} images of every class)"
    return record.model_copy(update={"title": title, "protocol": protocol})


def _classes_of(labels: Labels, image_id: str) -> tuple[int, ...]:
    if image_id not in labels.by_id:
        return (-1,)
    if isinstance(labels, ClassLabels):
        return (labels.by_id[image_id],)
    return tuple(k for k, value in enumerate(labels.by_id[image_id]) if value == 1)
