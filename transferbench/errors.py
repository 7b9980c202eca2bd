"""Every error a user can meet, drawn once.

TransferbenchError
├── DocumentError      a YAML document (recipe, dataset record) is wrong
├── UnknownNameError   no dataset, net, recipe or result has that name
├── DatasetError       images, labels or splits are missing or changed
├── WeightsError       weights are missing, damaged or do not fit the net they claim to be
├── TrainingError      a pretraining run cannot start, go on or resume
├── CacheError         a block of descriptors is missing, damaged or of another format
├── FeatureError       a descriptor is zero or not finite, or descriptors do not belong together
├── EvaluationError    labels, splits or settings from which no score can be computed
├── DeviceError        the device that was asked for is not there
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


class ResultError(TransferbenchError):
    """A stored result is missing or damaged."""


class StorageError(TransferbenchError):
    """A file cannot be written: disk full or no permission."""


class HeldError(StorageError):
    """Another process is writing it; the message names host and process."""
