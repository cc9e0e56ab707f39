"""Evaluates an existing model on a split of its dataset or on a folder of other labelled photos."""

from headstand.cli.evaluate import run

__all__ = ["run"]
