"""One request and its answer, as the log and the metrics see it."""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class Exchange:
    """What is noted of a request while it is worked on.

    `id` is the client's own (header `X-Request-ID`) where that is sane, else a new one; `seconds` holds the time by
    stage; `code` the error that the answer tells; `hosts` where it made us download from.
    """

    __slots__ = ("_inner", "_started", "code", "hosts", "id", "seconds")

    def __init__(self, wanted_id: str | None) -> None:
        self._started = time.perf_counter()
        self._inner = 0.0
        self.id = wanted_id if wanted_id and _SANE.fullmatch(wanted_id) else secrets.token_hex(8)
        self.seconds: dict[str, float] = {}
        self.code: str | None = None
        self.hosts: list[str] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Take the time of what is done inside, but for what is done in a stage within; repeated ones add up."""
        started, outer, self._inner = time.perf_counter(), self._inner, 0.0
        try:
            yield
        finally:
            whole = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + whole - self._inner
            self._inner = outer + whole

    @property
    def elapsed(self) -> float:
        """Seconds since the request's headers were read."""
        return time.perf_counter() - self._started
