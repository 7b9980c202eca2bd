"""What the SVMs of an evaluation take: operations, memory, and seconds at a machine's rate of matrix products."""

from collections.abc import Sequence
from dataclasses import dataclass

from transferbench.evaluation.svm.choice import PRODUCTS_A_C, PRODUCTS_OF_TRAINING, Way
from transferbench.evaluation.svm.objective import Loss
from transferbench.types.split import Split

ROWS_IN_MEMORY_PART = 0.3
"""Of the machine's memory: what rows may take where they are used as rows; beyond, they are read again and again."""
_READ_BYTES_PER_SECOND = 3e8
_SECONDS_A_FIT = 0.001
# The hinge: operations per class and image of a value of C by the Gram matrix, whose single rows it adds up, and
# products by rows.
_HINGE_OPERATIONS = 1e6
_HINGE_PRODUCTS = 600
# Arrays of a coefficient per class and image that are in memory at once, and Python with its libraries.
_ARRAYS = 12
_BASE_BYTES = 500e6
_KEPT_BLOCKS = 3 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """All that decides how long the SVMs of one variant take.

    Parameters
    ----------
    images : int
        In the cache, those included that no split uses.
    everyone : int
        Images that any split trains on.
    fit, train, test : tuple of int
        Of every split.
    parts : tuple of int
        Lengths of what is put side by side.
    classes, tried : int
        How many classes and values of C.
    """

    images: int
    everyone: int
    fit: tuple[int, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]
    parts: tuple[int, ...]
    classes: int
    tried: int

    @classmethod
    def of(cls, splits: Sequence[Split], images: int, parts: Sequence[int], classes: int, tried: int) -> "Shape":
        """Count what splits hold.

        Parameters
        ----------
        splits : sequence of Split
            Of the protocol; those without validation images do not choose C.
        images : int
            In the cache.
        parts : sequence of int
            Lengths of what is put side by side.
        classes, tried : int
            How many classes and values of C.

        Returns
        -------
        Shape
            Images that several splits train on are counted once in `everyone`.
        """
        return cls(
            images=images,
            everyone=len({i for split in splits for i in split.train}),
            fit=tuple(len(split.fit) if split.validation else 0 for split in splits),
            train=tuple(len(split.train) for split in splits),
            test=tuple(len(split.test) for split in splits),
            parts=tuple(parts),
            classes=classes,
            tried=tried,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Where the time goes.

    Parameters
    ----------
    gram : float
        Reading features and making the Gram matrix of all splits.
    choosing : float
        The path over C, all splits.
    training : float
        With the C chosen.
    testing : float
        Scores of test images.
    """

    gram: float
    choosing: float
    training: float
    testing: float

    @property
    def total(self) -> float:
        """Sum of all steps."""
        return self.gram + self.choosing + self.training + self.testing


def seconds(shape: Shape, way: Way, rate: float, loss: Loss = "squared_hinge") -> Seconds:
    """Estimate the time, nothing being kept from before.

    Parameters
    ----------
    shape : Shape
        Of the problem.
    way : {"gram", "rows"}
        How it is solved.
    rate : float
        Operations per second of a float32 matrix product on all cores.
    loss : {"squared_hinge", "hinge"}
        Of a margin violation.

    Returns
    -------
    Seconds
        Roughly: how many products a value of C takes depends on the features.
    """
    width, K = sum(shape.parts), shape.classes
    reading = 4 * shape.images * width / _READ_BYTES_PER_SECOND

    def product(n: int) -> float:
        return 2 * n * (n if way == "gram" else 2 * width) * K / rate + K * _SECONDS_A_FIT / PRODUCTS_A_C[way]

    def fit(n: int, products: int) -> float:
        if loss == "squared_hinge":
            return products * product(n)
        return _HINGE_OPERATIONS * n * K / rate if way == "gram" else _HINGE_PRODUCTS * product(n)

    scored = sum(2 * K * width * (n + m) for n, m in zip(shape.train, shape.test, strict=True))
    return Seconds(
        gram=reading + shape.everyone**2 * width / rate if way == "gram" else reading,
        choosing=sum(shape.tried * fit(n, PRODUCTS_A_C[way]) for n in shape.fit if n),
        training=sum(fit(n, PRODUCTS_OF_TRAINING[way]) for n in shape.train),
        testing=reading + scored / rate,
    )


def memory_bytes(shape: Shape, way: Way, machine_bytes: float) -> int:
    """Estimate the largest memory of the process.

    Parameters
    ----------
    shape : Shape
        Of the problem.
    way : {"gram", "rows"}
        How it is solved.
    machine_bytes : float
        Of the machine.

    Returns
    -------
    int
        Bytes, Python and its libraries included.
    """
    largest, fitted = max(shape.train), max(shape.fit)
    width = sum(shape.parts)
    vectors = 8 * _ARRAYS * shape.classes * largest
    if way == "rows":
        rows = 4 * largest * width
        return round(_BASE_BYTES + vectors + (rows if rows <= ROWS_IN_MEMORY_PART * machine_bytes else 0))
    making = 4 * shape.everyone * (shape.everyone + max(shape.parts) + _KEPT_BLOCKS)
    cut = fitted * largest if shape.everyone == largest else largest**2
    solving = 4 * (shape.everyone**2 + cut) + vectors
    return round(_BASE_BYTES + max(making, solving))
