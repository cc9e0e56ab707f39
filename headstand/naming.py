"""Unique names that contain the time: run folders, cloud jobs, endpoint versions, image tags."""

import secrets
import string
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

_ALPHABET = string.ascii_lowercase + string.digits
_FOLDER_TIME = "%Y-%m-%dT%H%M%S"
_FOLDER_TIME_LENGTH = len("2026-01-02T030405")


def stamp(time_format: str) -> str:
    """Returns the current time in UTC and six random characters, such as `260102030405-x7k2p0`.

    The random suffix (two billion values) distinguishes names of the same second.

    Args:
        time_format: format for `strftime`.
    """
    return f"{datetime.now(UTC):{time_format}}-{_token()}"


def folder(prefix: str, existing: Iterable[str]) -> str:
    """Returns a new folder name that sorts after the existing ones, such as `2026-01-02T030405-x7k2p0`.

    The time is UTC. If the clock was set back, or two folders are created within one second, it is one second after
    the newest existing name, so the order of names is always the order of creation.

    Args:
        prefix: text before the time.
        existing: names of earlier folders; those with another prefix or without a time are ignored.
    """
    time = datetime.now(UTC)
    for name in existing:
        if name.startswith(prefix):
            with suppress(ValueError, OverflowError):
                text = name.removeprefix(prefix)[:_FOLDER_TIME_LENGTH]
                time = max(time, datetime.strptime(text, _FOLDER_TIME).replace(tzinfo=UTC) + timedelta(seconds=1))
    return f"{prefix}{time:{_FOLDER_TIME}}-{_token()}"


def _token() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(6))
