"""Test images whose labels only a server has: their division, and what a result says about their scores."""

from transferbench.data import Dataset
from transferbench.data.dataset import SurveyedDataset
from transferbench.data.protocols import ServerTest
from transferbench.errors import DatasetError
from transferbench.evaluation.protocol import Prediction
from transferbench.pipeline.skipped import Remaining
from transferbench.reporting.result import Entry
from transferbench.types.split import Split


def official_split(dataset: Dataset) -> Split | None:
    """Return the division that the organisers' server tests.

    Parameters
    ----------
    dataset : Dataset
        Any.

    Returns
    -------
    Split or None
        None where test labels are at hand, or the test images are not.
    """
    return dataset.official_split() if isinstance(dataset, SurveyedDataset | Remaining) else None


def entry_of(predicted: Prediction, dataset: Dataset) -> Entry:
    """Say what the scores of an official split rest on.

    Parameters
    ----------
    predicted : Prediction
        Of the recipe's own features.
    dataset : Dataset
        With test labels on a server.

    Returns
    -------
    Entry
        For the result.

    Raises
    ------
    DatasetError
        If the dataset has its test labels.
    """
    protocol, split = dataset.record.protocol, predicted.split
    if not isinstance(protocol, ServerTest):
        msg = f"{dataset.record.name} has its test labels; there is no server to submit to"
        raise DatasetError(msg)
    return Entry(
        competition=protocol.competition,
        sha256=split.sha256,
        n_fit=len(split.fit),
        n_validation=len(split.validation),
        n_test=len(split.test),
        C=predicted.C,
        C_at_edge=predicted.C_at_edge,
        validation=tuple(predicted.validation.items()),
    )
