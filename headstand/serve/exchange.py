"""Context of one request: what the log and the metrics report about it."""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class Exchange:
    """Facts about one request, collected while it is processed.

    `id` is the client's own (header `X-Request-ID`) where it is well formed, else a new one; `seconds` holds the time
    by stage; `code` the error that the client receives; `hosts` those that it made us download from; `received` the
    bytes of its body that were read.
    """

    __slots__ = ("_inner", "_started", "code", "hosts", "id", "received", "seconds")

    def __init__(self, wanted_id: str | None) -> None:
        self._started = time.perf_counter()
        self._inner = 0.0
        self.id = wanted_id if wanted_id and _SANE.fullmatch(wanted_id) else secrets.token_hex(8)
        self.seconds: dict[str, float] = {}
        self.code: str | None = None
        self.hosts: list[str] = []
        self.received = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the time spent inside, without that of stages nested in it; repeated stages add up."""
        started, outer, self._inner = time.perf_counter(), self._inner, 0.0
        try:
            yield
        finally:
            whole = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + whole - self._inner
            self._inner = outer + whole

    @property
    def elapsed(self) -> float:
        """Seconds since the request was received."""
        return time.perf_counter() - self._started
