"""Score a model that is there already, on a split of its dataset or on a folder of other photos."""

from headstand.evaluate.command import run

__all__ = ["run"]
