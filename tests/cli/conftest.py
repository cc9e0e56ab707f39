"""Fixtures of the command-line tests."""

from tests.evaluation.conftest import checkpoint

__all__ = ["checkpoint"]
