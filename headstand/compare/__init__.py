"""Compares backbones and head variants by validation accuracy, model size and latency, using cached features."""

from headstand.compare.command import run

__all__ = ["run"]
