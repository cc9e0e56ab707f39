"""Runs command-line scripts in the test process."""

import sys
from collections.abc import Callable

import pytest

from headstand.cli import command


def status(monkeypatch: pytest.MonkeyPatch, main: Callable[[list[str]], None], *words: str) -> int:
    """Runs a script's `main` with `words` as `sys.argv`; returns the exit status, 1 for an error message."""
    monkeypatch.setattr(sys, "argv", list(words))
    try:
        command.run(main)
    except SystemExit as done:
        if isinstance(done.code, str):
            print(done.code, file=sys.stderr)
            return 1
        return int(done.code or 0)
    return 0
