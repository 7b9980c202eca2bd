"""Scores: a number with what it is the mean of, and the numbers that others published beside it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number with what it is the mean of.

    Parameters
    ----------
    metric : str
        ``mean class recall``.
    value : float
        In [0, 1].
    per_class : tuple of float
        In class order, in [0, 1].
    n_test : int
        Number of test images.
    """

    metric: str
    value: float
    per_class: tuple[float, ...]
    n_test: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeWith:
    """How a published number was made, as far as its paper says.

    Parameters
    ----------
    nets : tuple of str
        Columns of Table 1, side by side.
    scales : tuple of int
        Short sides in px; empty where the paper does not say.
    aggregate : str or None
        ``stack``, ``average`` or ``max`` over the scales, if the paper says it.
    regions : tuple of str
        What of an image was described.
    splits : int or None
        How many random splits it is the mean of.
    train_per_class : int or None
        How many images of every class it was trained on, those that choose C included; None for all of a given list.
    average_precision : str or None
        ``eleven_point``, ``area`` or ``non_interpolated``.
    average_precision_stated : bool
        Whether the paper or its test server says so.
    test : {"local", "server"}
        Who had the test labels.
    """

    nets: tuple[str, ...]
    aggregate: str | None = None
    scales: tuple[int, ...] = ()
    regions: tuple[str, ...] = ("image",)
    splits: int | None = None
    train_per_class: int | None = None
    average_precision: str | None = None
    average_precision_stated: bool = True
    test: str = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """A number somebody published, to stand beside ours.

    Parameters
    ----------
    key : str
        Name by which a recipe claims it, unique within the dataset.
    metric : str
        The metric's name.
    value : float
        In [0, 1].
    spread : float or None
        Standard deviation over splits, if published.
    source : str
        Table and row, or who measured it and with what.
    tolerance : float
        Difference up to which ours counts as a reproduction.
    made_with : MadeWith or None
        How it was made, if ours is to be held against that.
    """

    key: str
    metric: str
    value: float
    spread: float | None
    source: str
    tolerance: float
    made_with: MadeWith | None = None
