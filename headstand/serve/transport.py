"""The HTTP side of a download: requests-hardened's session, with a guard on every connection.

Loaded only when a URL comes: requests and what it brings would otherwise slow each start.
"""

import contextlib
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


class Guard:
    """Decides which addresses one download may connect to, and cuts its connections when its time is up."""

    def __init__(self, *, allow_loopback: bool = False) -> None:
        self._allow_loopback = allow_loopback
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._cut = False

    def admit(self, *addresses: str) -> None:
        """Let public addresses pass.

        Raises:
            DownloadError: `forbidden_address` if any is not public, `download_timeout` if time is up.
        """
        if self._cut:
            raise DownloadError("download_timeout", "the download took too long")
        for item in addresses:
            if not (address.is_public(item) or (self._allow_loopback and address.is_loopback(item))):
                raise DownloadError("forbidden_address", FORBIDDEN)

    def watch(self, connection: socket.socket) -> None:
        """Keep a second handle of a connection: TLS takes the first one over."""
        handle = connection.dup()
        with self._lock:
            self._sockets.append(handle)
        if self._cut:
            self.cut()

    def cut(self) -> None:
        """End all connections; whoever waits for one of them, be it for headers byte by byte, wakes at once."""
        self._cut = True
        with self._lock:
            for handle in self._sockets:
                with contextlib.suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        with self._lock:
            for handle in self._sockets:
                handle.close()
            self._sockets.clear()


class _Connection:
    """What `_Adapter` puts before urllib3's connection classes."""

    guard: Guard
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        # requests-hardened resolves the host a second time and puts the address it got here, to connect to. It knows
        # fewer special networks than we do, and DNS may answer otherwise than before: so this is the check that counts.
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
        # Cookies are for nobody, and Python's parser of `Set-Cookie2` takes a minute for the headers of one answer,
        # holding all other threads up.
        for name in ("Set-Cookie", "Set-Cookie2"):
            del resp._original_response.msg[name]  # type: ignore[attr-defined]
        return super().build_response(req, resp)


class _Session(HTTPSession):
    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Nothing: even when told not to redirect, requests would read a redirect's body, however long, to prepare."""
        return iter(())


def session(guard: Guard, *, timeout: float, allow_loopback: bool = False) -> HTTPSession:
    """A session for one request: no proxies, netrc or certificates from the environment, no redirects by itself."""
    made = _Session(
        Config(
            ip_filter_enable=True,
            ip_filter_allow_loopback_ips=allow_loopback,
            never_redirect=True,
            default_timeout=(timeout, timeout),
            user_agent_override=f"headstand/{__version__}",
        )
    )
    made.trust_env = False
    # A body in any other encoding is refused, so that few bytes cannot become many.
    made.headers["Accept-Encoding"] = "identity"
    for scheme in ("http", "https"):
        adapter = _Adapter(guard, is_https_proto=scheme == "https", allow_loopback=allow_loopback)
        made.mount(f"{scheme}://", adapter)
    return made
