"""The HTTP side of a download: requests-hardened's session, with checked addresses and limits for each response.

Imported with the first URL, because requests and its dependencies slow the start.
"""

import contextlib
import http.client
import io
import socket
import threading
from collections.abc import Iterator
from typing import Any

import requests
import urllib3
from requests_hardened import Config, HTTPSession
from requests_hardened.ip_filter_adapter import IPFilterAdapter

from headstand import __version__
from headstand.serve import address
from headstand.serve.refusal import FORBIDDEN, DownloadError

MIN_PIECE = 128
"""Fewest bytes that a response must bring on average with each read from its connection and with each line of HTTP.
Each costs microseconds of Python, whatever it brings; a naive server that sends a photo line by line (a byte in 256 is
a line feed) stays above it."""

FREE_PIECES = 500
"""Reads, and lines, of a response that may be smaller: status line, headers, trailers, the chunks of a small image."""

MAX_LINES = 40_000
"""Most lines of a response; chunks of 512 bytes make 20 MiB."""

MAX_LINE_BYTES = 2**18
"""Most bytes in all lines of a response: interim responses, headers, chunk sizes with their extensions, trailers.
Browsers take headers of 256 KiB; the lines of 20,000 chunks have 120 kB."""


class Guard:
    """Decides which addresses one download may connect to, and ends its connections at the deadline."""

    def __init__(self, *, allow_loopback: bool = False) -> None:
        self._allow_loopback = allow_loopback
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._cut = False

    def admit(self, *addresses: str) -> None:
        """Accept public addresses.

        Raises:
            DownloadError: `forbidden_address` if any is not public, `download_timeout` after the deadline.
        """
        if self._cut:
            raise DownloadError("download_timeout", "the download took too long")
        for item in addresses:
            if not (address.is_public(item) or (self._allow_loopback and address.is_loopback(item))):
                raise DownloadError("forbidden_address", FORBIDDEN)

    def watch(self, connection: socket.socket) -> None:
        """Keep a duplicate of a connection's descriptor, because TLS takes over the first one."""
        handle = connection.dup()
        with self._lock:
            self._sockets.append(handle)
        if self._cut:
            self.cut()

    def cut(self) -> None:
        """Shut all connections down; a thread that reads from one of them wakes up at once."""
        self._cut = True
        with self._lock:
            for handle in self._sockets:
                with contextlib.suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close the duplicated descriptors."""
        with self._lock:
            for handle in self._sockets:
                handle.close()
            self._sockets.clear()


class _Reads(io.RawIOBase):
    """The bytes of a connection, as long as each read brings enough of them."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._reads = self.bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._raw.readinto(buffer)
        self._reads += 1
        self.bytes += count or 0
        if self._reads > FREE_PIECES + self.bytes // MIN_PIECE:
            raise _too_many_pieces()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Lines(io.BufferedReader):
    """A response's stream; http.client reads by line what is not body: headers, interim responses, chunks, trailers."""

    raw: _Reads

    def __init__(self, raw: _Reads) -> None:
        super().__init__(raw)
        self._lines = self._line_bytes = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self._lines += 1
        self._line_bytes += len(line)
        most = min(FREE_PIECES + self.raw.bytes // MIN_PIECE, MAX_LINES)
        if self._lines > most or self._line_bytes > MAX_LINE_BYTES:
            raise _too_many_pieces()
        return line


def _too_many_pieces() -> DownloadError:
    return DownloadError("download_failed", "the download failed: the URL's server sends it in too many small pieces")


class _Response(http.client.HTTPResponse):
    """http.client's response with limits for what it reads; the base limits single lines only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fp = _Lines(_Reads(self.fp.detach()))


class _Connection:
    """What `_Adapter` adds to urllib3's connection classes."""

    guard: Guard
    response_class = _Response
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        # requests-hardened resolves the host a second time and connects to the address it got, which is here. It knows
        # fewer special networks than `address`, and DNS may give another answer: so this check is the one that counts.
        self.guard.admit(self._dns_host.strip("[]"))
        connection: socket.socket = super()._new_conn()  # type: ignore[misc]
        self.guard.watch(connection)
        return connection


class _Adapter(IPFilterAdapter):
    """Connects to the address that was checked, with the host's name in the Host header and in TLS."""

    def __init__(self, guard: Guard, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._guard = guard

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> urllib3.HTTPConnectionPool:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = type("Guarded", (_Connection, pool.ConnectionCls), {"guard": self._guard})
        return pool

    def build_response(self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse) -> requests.Response:
        # Cookies are not used, and Python's parser of `Set-Cookie2` can take seconds for one response while it holds
        # the interpreter's lock.
        for name in ("Set-Cookie", "Set-Cookie2"):
            del resp._original_response.msg[name]  # type: ignore[attr-defined]
        return super().build_response(req, resp)


class _Session(HTTPSession):
    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Yield nothing; requests would read the body of a redirect, even one that it does not follow."""
        return iter(())


def session(guard: Guard, *, timeout: float, allow_loopback: bool = False) -> HTTPSession:
    """Return a session for one request: no proxies, netrc or certificates of the environment, no redirects."""
    session = _Session(
        Config(
            ip_filter_enable=True,
            ip_filter_allow_loopback_ips=allow_loopback,
            never_redirect=True,
            default_timeout=(timeout, timeout),
            user_agent_override=f"headstand/{__version__}",
        )
    )
    session.trust_env = False
    # A body in any other encoding is refused, so that few bytes cannot decompress to many.
    session.headers["Accept-Encoding"] = "identity"
    for scheme in ("http", "https"):
        adapter = _Adapter(guard, is_https_proto=scheme == "https", allow_loopback=allow_loopback)
        session.mount(f"{scheme}://", adapter)
    return session
