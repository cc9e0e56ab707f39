"""Headstand: trains image classifiers on a folder of photos and serves them."""

__version__ = "0.1.0"
