"""Compares backbones and head variants by validation accuracy, model size and latency, using cached features."""

from headstand.cli.compare import run

__all__ = ["run"]
