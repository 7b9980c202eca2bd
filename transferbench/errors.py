"""Every error a user can meet, drawn once.

TransferbenchError
├── DocumentError      a YAML document (recipe, dataset record) is wrong
├── UnknownNameError   no dataset, net, recipe or result has that name
├── DatasetError       images, labels or splits are missing or changed
│   └── BadImageError  the content of one image file cannot be decoded
├── WeightsError       weights are missing, damaged or do not fit the net they claim to be
├── TrainingError      a pretraining run cannot start, go on or resume
├── CacheError         a block of descriptors is missing, damaged or of another format
├── FeatureError       a descriptor is zero or not finite, or descriptors do not belong together
├── EvaluationError    labels, splits or settings from which no score can be computed
├── DeviceError        the device that was asked for is not there
├── DownloadError      a file cannot be fetched, or is not the one that was meant
├── ResultError        a stored result is missing or damaged
└── StorageError       a file cannot be written: disk full, no permission
    └── HeldError      another process is writing it

A message says what is wrong, where, and what to do. Only ``transferbench.cli`` turns one into an exit code (1).
"""


class TransferbenchError(Exception):
    """Base of all errors that are the user's to mend; its text is shown without a traceback."""


class DocumentError(TransferbenchError):
    """A YAML document is wrong; the message lists every problem with its place."""


class UnknownNameError(TransferbenchError):
    """A name is not known; the message suggests the nearest known one."""


class DatasetError(TransferbenchError):
    """Images, labels or splits are missing, unreadable or not what the record states."""


class BadImageError(DatasetError):
    """The content of one image file cannot be decoded; a file that the system cannot read is a plain `DatasetError`.

    Parameters
    ----------
    path : str
        Of the file.
    reason : str
        What is wrong with it. Names no path, so that it reads the same on every machine.
    todo : str
        How to mend it; may be empty.
    """

    def __init__(self, path: str, reason: str, todo: str = "") -> None:
        super().__init__(f"{path}: {reason}" + (f".\n  {todo}" if todo else ""))
        self.path = path
        self.reason = reason
        self.todo = todo

    def __reduce__(self) -> tuple[type["BadImageError"], tuple[str, str, str]]:
        return type(self), (self.path, self.reason, self.todo)  # worker processes send it whole


class WeightsError(TransferbenchError):
    """Weights are missing, damaged, or do not fit the net they claim to be."""


class TrainingError(TransferbenchError):
    """A pretraining run cannot start, go on or resume."""


class CacheError(TransferbenchError):
    """A block of descriptors is missing, damaged or of another format."""


class FeatureError(TransferbenchError):
    """A descriptor is zero or not finite, or descriptors do not belong together."""


class EvaluationError(TransferbenchError):
    """No score can be computed from these labels, splits or settings."""


class DeviceError(TransferbenchError):
    """The device that was asked for is not there."""


class DownloadError(TransferbenchError):
    """A file cannot be fetched: offline, moved, broken off, or not the one that was meant."""


class ResultError(TransferbenchError):
    """A stored result is missing or damaged."""


class StorageError(TransferbenchError):
    """A file cannot be written: disk full or no permission."""


class HeldError(StorageError):
    """Another process is writing it; the message names host and process."""
