"""Runs command-line scripts in the test process."""

import sys
from collections.abc import Callable

import pytest

from headstand.cli import command


def status(monkeypatch: pytest.MonkeyPatch, main: Callable[[list[str]], None], *argv: str) -> int:
    """Runs a script's `main` with `argv` as `sys.argv`; returns the exit status, 1 for an error message."""
    monkeypatch.setattr(sys, "argv", list(argv))
    try:
        command.run(main)
    except SystemExit as done:
        if isinstance(done.code, str):
            print(done.code, file=sys.stderr)
            return 1
        return int(done.code or 0)
    return 0
