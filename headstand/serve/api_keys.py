"""API keys of clients, from the environment variable `HEADSTAND_API_KEY`."""

import hashlib
import hmac
import os
import re
from collections.abc import Mapping

from headstand.errors import HeadstandError

VARIABLE = "HEADSTAND_API_KEY"

_KEY = re.compile(r"[!-+\--~]{16,256}")
"""Visible ASCII characters except the comma; so few that a header holds them, so many that nobody guesses them."""


class ApiKeys:
    """Keys of which a client must send one; without keys every client is admitted.

    Only hashes are kept, of equal length, so that a comparison takes the same time whatever a client sends.

    Args:
        keys: the keys.

    Raises:
        HeadstandError: a key is not 16 to 256 visible ASCII characters. The message does not contain it.
    """

    def __init__(self, *keys: str) -> None:
        for number, key in enumerate(keys, 1):
            if not _KEY.fullmatch(key):
                raise HeadstandError(
                    f"key {number} of {VARIABLE} has {len(key)} characters; a key has 16 to 256 visible ASCII "
                    "characters, and commas separate keys: create one with `openssl rand -hex 16`, or unset the "
                    "variable to serve without keys"
                )
        self._hashes = [_hash(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def admits(self, authorization: str | None) -> bool:
        """Returns whether a request with this header `Authorization` is admitted: `Bearer KEY` (RFC 6750, 2.1)."""
        if not self._hashes:
            return True
        scheme, _, key = (authorization or "").partition(" ")
        found = _hash(key.strip())
        equal = [hmac.compare_digest(found, known) for known in self._hashes]  # with all, not until the first
        return scheme.lower() == "bearer" and any(equal)


def configured(environment: Mapping[str, str] = os.environ) -> ApiKeys:
    """Returns the keys of `HEADSTAND_API_KEY`, separated by commas; none if it is not set.

    Raises:
        HeadstandError: a key is invalid. So is the empty one of a variable that is set and empty.
    """
    text = environment.get(VARIABLE)
    return ApiKeys() if text is None else ApiKeys(*(key.strip() for key in text.split(",")))


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
