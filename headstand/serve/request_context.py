"""Context of one request: the values that the log and the metrics report about it."""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class RequestContext:
    """Request context: values collected while one request is processed.

    Args:
        ids: wanted ids, such as the client's `X-Request-ID`, in order of preference.
        fields: further fields for the log line.
        time_left: returns the seconds until the request is aborted; None if there is no such time.

    Attributes:
        id: the first wanted id that is well formed, else a random one.
        seconds: time by stage.
        code: code of the error that the client receives; None for a success.
        codes: codes of the errors of single images of a batch.
        confident: for each classified image whether the prediction is confident.
        known: for each classified image whether it is similar to the training photos; None if the model cannot tell.
        hosts: hosts of the URLs that the request referred to.
        received: bytes of the body that were read.
    """

    __slots__ = (
        "_inner", "_started", "code", "codes", "confident", "fields", "hosts", "id", "known", "received", "seconds",
        "time_left",
    )  # fmt: skip

    def __init__(
        self, *ids: str | None, fields: dict[str, Any] | None = None, time_left: Callable[[], float] | None = None
    ) -> None:
        self._started = time.perf_counter()
        self._inner = 0.0
        valid = [each for each in ids if each and _VALID_ID.fullmatch(each)]
        self.id = valid[0] if valid else secrets.token_hex(8)
        self.fields = fields or {}
        self.time_left = time_left
        self.seconds: dict[str, float] = {}
        self.code: str | None = None
        self.codes: list[str] = []
        self.confident: list[bool] = []
        self.known: list[bool | None] = []
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
