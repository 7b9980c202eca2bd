"""What others published on a dataset: ``published.yaml`` beside its record."""

from typing import Annotated, Literal

from pydantic import Field

from transferbench.data.record import is_own, record_folder, record_names
from transferbench.documents import Count, Document, read_document
from transferbench.errors import UnknownNameError
from transferbench.lookup import is_dataset, unknown
from transferbench.types.scores import MadeWith, PublishedRow


class _MadeWith(Document):
    nets: tuple[str, ...] = Field(min_length=1)
    aggregate: Literal["stack", "average", "max"] | None = None
    scales: tuple[Count, ...] = ()
    regions: tuple[Literal["image", "box"], ...] = ("image",)
    splits: Count | None = None
    train_per_class: Count | None = None
    average_precision: Literal["eleven_point", "area", "non_interpolated"] | None = None
    average_precision_stated: bool = True
    test: Literal["local", "server"] = "local"


class _Row(Document):
    key: str
    metric: str
    value: Annotated[float, Field(ge=0, le=1)]
    spread: Annotated[float, Field(ge=0)] | None
    source: str
    tolerance: Annotated[float, Field(gt=0)]
    made_with: _MadeWith | None = None

    def value_of(self) -> PublishedRow:
        made_with = None if self.made_with is None else MadeWith(**self.made_with.model_dump())
        return PublishedRow(**{**self.model_dump(), "made_with": made_with})


class _Published(Document):
    version: Literal[1]
    rows: tuple[_Row, ...]


def load_published(name: str) -> dict[str, PublishedRow]:
    """Read the numbers that a result on this dataset may stand beside.

    Parameters
    ----------
    name : str
        Name of the dataset.

    Returns
    -------
    dict of str to PublishedRow
        By key; empty for a dataset of the user's own, or of a plugin.
    """
    if is_own(name) or (is_dataset(name) and name not in record_names()):
        return {}
    path = record_folder(name) / "published.yaml"
    rows = read_document(path, _Published).rows if path.is_file() else ()
    return {row.key: row.value_of() for row in rows}


def published_row(dataset: str, key: str) -> PublishedRow:
    """Look up one published number.

    Parameters
    ----------
    dataset : str
        Name of the dataset.
    key : str
        As a recipe claims it.

    Returns
    -------
    PublishedRow
        The row.

    Raises
    ------
    UnknownNameError
        If the dataset has no such row.
    """
    rows = load_published(dataset)
    if key not in rows:
        raise UnknownNameError(unknown(f"published row of {dataset}", key, rows))
    return rows[key]
