"""HTTP client for downloads: requests-hardened's session with checked addresses and limits for each response.

It is imported with the first URL, because requests and its dependencies load slowly.
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
from headstand.serve.download import FORBIDDEN, DownloadError, address

MIN_PIECE = 128
"""Minimum average number of bytes of a response per read from the connection, and per line of HTTP.

Each read and line costs microseconds of Python, independent of its size. A naive server that sends a photo line by line
(one byte in 256 is a line feed) stays above the limit.
"""

FREE_PIECES = 500
"""Number of reads, and of lines, per response that may be smaller: status line, headers, trailers, small chunks."""

MAX_LINES = 40_000
"""Maximum number of lines of a response; enough for 20 MiB in chunks of 512 bytes."""

MAX_LINE_BYTES = 2**18
"""Maximum size of all lines of a response in bytes: interim responses, headers, chunk sizes, extensions, trailers.

Browsers accept headers of 256 KiB; the lines of 20,000 chunks have 120 kB.
"""


class Guard:
    """Address filter and connection registry of one download, which can end its connections at the deadline."""

    def __init__(self, *, allow_loopback: bool = False) -> None:
        self._allow_loopback = allow_loopback
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._cut = False

    def admit(self, *addresses: str) -> None:
        """Checks that all addresses are public; allowed loopback addresses pass, too.

        Raises:
            DownloadError: `forbidden_address` if an address is not public, `download_timeout` after the deadline.
        """
        if self._cut:
            raise DownloadError("download_timeout", "the download took too long")
        for item in addresses:
            if not (address.is_public(item) or (self._allow_loopback and address.is_loopback(item))):
                raise DownloadError("forbidden_address", FORBIDDEN)

    def watch(self, connection: socket.socket) -> None:
        """Registers a connection for `cut`, as a duplicate descriptor, because TLS detaches the original one."""
        handle = connection.dup()
        with self._lock:
            self._sockets.append(handle)
        if self._cut:
            self.cut()

    def cut(self) -> None:
        """Shuts all connections down; a thread that reads from one of them wakes up at once."""
        self._cut = True
        with self._lock:
            for handle in self._sockets:
                with contextlib.suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Closes the duplicated descriptors."""
        with self._lock:
            for handle in self._sockets:
                handle.close()
            self._sockets.clear()


class _Reads(io.RawIOBase):
    """Byte stream of a connection that fails if too many reads return too few bytes."""

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
    """Buffered stream of a response with limits on the number and size of its lines.

    http.client reads headers, interim responses, chunk sizes and trailers line by line.
    """

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
    return DownloadError("download_failed", "the download failed: the URL's server sends too many small pieces")


class _Response(http.client.HTTPResponse):
    """http.client's response with limits on all reads and lines; the base class limits only single lines."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fp = _Lines(_Reads(self.fp.detach()))


class _CheckedConnection:
    """Mixin that `_Adapter` adds to urllib3's connection classes: address check and response limits."""

    guard: Guard
    response_class = _Response
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        # requests-hardened resolves the host again and connects to that address, `_dns_host`. DNS may return another
        # address than before, and its filter has fewer networks than `address`: so this check is the decisive one.
        self.guard.admit(self._dns_host.strip("[]"))
        connection: socket.socket = super()._new_conn()  # type: ignore[misc]
        self.guard.watch(connection)
        return connection


class _Adapter(IPFilterAdapter):
    """HTTP adapter that connects to the checked address, with the host's name in the Host header and in TLS."""

    def __init__(self, guard: Guard, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._guard = guard

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> urllib3.HTTPConnectionPool:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = type("Guarded", (_CheckedConnection, pool.ConnectionCls), {"guard": self._guard})
        return pool

    def build_response(self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse) -> requests.Response:
        # Cookies are not used, and Python's parser of `Set-Cookie2` can hold the GIL for seconds.
        for name in ("Set-Cookie", "Set-Cookie2"):
            del resp._original_response.msg[name]  # type: ignore[attr-defined]
        return super().build_response(req, resp)


class _Session(HTTPSession):
    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Yields nothing, because requests would read the body of a redirect even if it does not follow it."""
        return iter(())


def session(guard: Guard, *, timeout: float, allow_loopback: bool = False) -> HTTPSession:
    """Returns a session for one request, which ignores redirects and the environment's proxies, netrc and CA files."""
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
