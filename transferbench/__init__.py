"""Measure how well a pretrained convolutional network transfers to other image datasets."""

__version__ = "0.1.0"

__all__ = ["__version__"]
