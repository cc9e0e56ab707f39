"""Context of one request: the values that the log and the metrics report about it."""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class RequestContext:
    """Request context: values collected while one request is processed.

    Attributes:
        id: the client's `X-Request-ID` if it is well formed, else a new random one.
        seconds: time by stage.
        code: code of the error that the client receives; None for a success.
        hosts: hosts of the URLs that the request referred to.
        received: bytes of the body that were read.
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
        """Measures the time spent in this context, without stages nested in it; repeated stages add up."""
        started, outer, self._inner = time.perf_counter(), self._inner, 0.0
        try:
            yield
        finally:
            whole = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + whole - self._inner
            self._inner = outer + whole

    @property
    def timing(self) -> str:
        """Milliseconds by stage, as the value of the header `Server-Timing`."""
        return ", ".join(f"{name};dur={value * 1000:.2f}" for name, value in self.seconds.items())

    @property
    def elapsed(self) -> float:
        """Seconds since this object was created, at the start of the request."""
        return time.perf_counter() - self._started
