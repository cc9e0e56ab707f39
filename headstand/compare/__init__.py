"""Race backbones and head variants over cached features: which to train, within which size and latency."""

from headstand.compare.command import run

__all__ = ["run"]
