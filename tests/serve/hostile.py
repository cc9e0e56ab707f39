"""A web server on this machine that misbehaves on purpose: one path for each way."""

import gzip
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests import tiny

PHOTO = tiny.photo()


class HostileServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stop = threading.Event()

    def url(self, path: str = "/photo", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a client that hangs up early is what the tests want."""


class _Handler(BaseHTTPRequestHandler):
    server: HostileServer

    def handle(self) -> None:
        if isinstance(self.connection, ssl.SSLSocket):
            super().handle()
            return
        # A TLS handshake starts with byte 22 (RFC 8446, 5.1): stay silent and let the client wait.
        if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
            self.server.stop.wait(60)
        else:
            super().handle()

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        parts = urlsplit(self.path)
        getattr(self, "_" + parts.path[1:].replace("-", "_"))(parse_qs(parts.query))

    def _photo(self, _: object) -> None:
        self._answer(PHOTO)

    def _redirect(self, query: dict[str, list[str]]) -> None:
        self._raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + query["to"][0].encode() + b"\r\n\r\n")

    def _fat_redirect(self, query: dict[str, list[str]]) -> None:
        self._raw(b"HTTP/1.1 302 Found\r\nLocation: /photo\r\n\r\n")
        self._endless(b"\0" * 65536)

    def _hops(self, query: dict[str, list[str]]) -> None:
        left = int(query["n"][0])
        self._redirect({"to": ["/photo" if left == 1 else f"/hops?n={left - 1}"]})

    def _gzip(self, _: object) -> None:
        self._answer(gzip.compress(PHOTO), "Content-Encoding: gzip\r\n")

    def _empty(self, _: object) -> None:
        self._answer(b"")

    def _missing(self, _: object) -> None:
        self._answer(b"secret inside", status="404 Not Found")

    def _huge(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\n\r\n")
        self._endless(b"\0" * 65536)

    def _huge_chunked(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._endless(b"10000\r\n" + b"\0" * 65536 + b"\r\n")

    def _huge_promised(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")

    def _cut_short(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + PHOTO)

    def _no_length(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n" + PHOTO)

    def _no_http(self, _: object) -> None:
        self._raw(b"220 mail.example.org ESMTP\r\n")

    def _slow_body(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        self._endless(b"x", pause=0.02)

    def _slow_headers(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nX: ")
        self._endless(b"x", pause=0.02)

    def _continues(self, _: object) -> None:
        self._endless(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.02)

    def _silent(self, _: object) -> None:
        self.server.stop.wait(60)

    def _answer(self, body: bytes, headers: str = "", status: str = "200 OK") -> None:
        self._raw(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def _endless(self, piece: bytes, pause: float = 0) -> None:
        while not self.server.stop.wait(pause):
            self._raw(piece)

    def _raw(self, data: bytes) -> None:
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Nothing: the tests' output stays readable."""


@contextmanager
def hostile_server() -> Iterator[HostileServer]:
    server = HostileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.shutdown()
        thread.join()
        with suppress(OSError):
            server.server_close()
