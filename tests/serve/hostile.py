"""Web server on this machine with one path for each kind of hostile response."""

import gzip
import random
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

from tests import tiny

PHOTO = tiny.photo()

LARGE = random.Random(0).randbytes(2**20)
"""Random bytes of the size of a small photo."""

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TRAILERS = CHUNKED + b"1\r\nx\r\n0\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n"

FIXED = {
    "/huge-promised": OK + b"Content-Length: 99999999999\r\n\r\n",
    "/cut-short": OK + b"Content-Length: 5000\r\n\r\n" + PHOTO,
    "/no-length": OK + b"Content-Length: many\r\n\r\n" + PHOTO,
    "/two-lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxx",
    "/no-http": b"220 mail.example.org ESMTP\r\n",
    # Set-Cookie2 (RFC 2965) is split by a pattern that takes a second for each of these lines.
    "/cookies": OK + b"Set-Cookie: a=1\r\n" + (b"Set-Cookie2: " + b"a=1," * 16_000 + b"\r\n") * 4
    + b"Content-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO,
    "/many-headers": OK + b"a: b\r\n" * 1000 + b"\r\n" + PHOTO,
    "/long-header": OK + b"a: " + b"b" * 70_000 + b"\r\n\r\n" + PHOTO,
    "/long-headers": OK + (b"a: " + b"b" * 60_000 + b"\r\n") * 90 + b"\r\n" + PHOTO,
    "/long-status": b"HTTP/1.1 200 " + b"b" * 70_000 + b"\r\n\r\n" + PHOTO,
    # A photo as a naive server sends it: a chunk for each line of the file.
    "/lines": CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in BytesIO(LARGE)) + b"0\r\n\r\n",
    "/long-chunk-line": CHUNKED + b"1;" + b"a" * 70_000 + b"\r\nx\r\n0\r\n\r\n",
    "/negative-chunk": CHUNKED + b"-5\r\nx\r\n0\r\n\r\n",
    "/strange-location": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://\xff\xfe[::1/\r\n\r\n",
}  # fmt: skip
"""Fixed responses by path."""

ENDLESS = {
    "/huge": (OK + b"\r\n", bytes(65536), 0),
    "/fat-redirect": (b"HTTP/1.1 302 Found\r\nLocation: /photo\r\n\r\n", bytes(65536), 0),
    "/huge-chunked": (CHUNKED, b"10000\r\n" + bytes(65536) + b"\r\n", 0),
    "/endless-headers": (OK, b"a: b\r\n" * 1000, 0),
    "/continues": (b"", CONTINUE + b"\r\n", 0.02),
    "/fast-continues": (b"", (CONTINUE + b"\r\n") * 1000, 0),
    "/long-continues": (b"", CONTINUE + b"a: " + b"b" * 60_000 + b"\r\n\r\n", 0),
    "/endless-trailers": (TRAILERS, b"a: b\r\n", 0.02),
    "/fast-trailers": (TRAILERS, b"a: b\r\n" * 1000, 0),
    "/long-trailers": (TRAILERS, b"a: " + b"b" * 60_000 + b"\r\n", 0),
    "/byte-chunks": (CHUNKED, b"1\r\nx\r\n" * 1000, 0),
    # Each has the required average size, but there are too many of them.
    "/small-chunks": (CHUNKED, (b"80\r\n" + b"x" * 128 + b"\r\n") * 1000, 0),
    "/extended-chunks": (CHUNKED, (b"400;" + b"a" * 4000 + b"\r\n" + b"x" * 1024 + b"\r\n") * 10, 0),
    "/slow-body": (OK + b"Content-Length: 5000\r\n\r\n", b"x", 0.02),
    "/slow-headers": (OK + b"X: ", b"x", 0.02),
}
"""Endless responses by path: their start, the piece that is repeated, and the seconds between pieces."""


class HostileServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stop = threading.Event()
        self.release = threading.Event()
        """`/held` responds after it is set."""
        self.body = b""
        """Response of `/body`, head and body."""

    def url(self, path: str = "/photo", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Suppresses errors: clients close connections early on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: HostileServer

    def handle(self) -> None:
        if isinstance(self.connection, ssl.SSLSocket):
            super().handle()
            return
        # A TLS handshake starts with byte 22 (RFC 8446, 5.1): send nothing and let the client wait.
        if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
            self.server.stop.wait(60)
        else:
            super().handle()

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        parts = urlsplit(self.path)
        if parts.path in FIXED:
            self._raw(FIXED[parts.path])
        elif parts.path in ENDLESS:
            start, piece, pause = ENDLESS[parts.path]
            self._raw(start)
            self._endless(piece, pause)
        else:
            getattr(self, "_" + parts.path[1:].replace("-", "_"))(parse_qs(parts.query))

    def _photo(self, _: object) -> None:
        self._answer(PHOTO)

    def _redirect(self, query: dict[str, list[str]]) -> None:
        self._raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + query["to"][0].encode() + b"\r\n\r\n")

    def _hops(self, query: dict[str, list[str]]) -> None:
        remaining = int(query["n"][0])
        self._redirect({"to": ["/photo" if remaining == 1 else f"/hops?n={remaining - 1}"]})

    def _gzip(self, _: object) -> None:
        self._answer(gzip.compress(PHOTO), "Content-Encoding: gzip\r\n")

    def _empty(self, _: object) -> None:
        self._answer(b"")

    def _missing(self, _: object) -> None:
        self._answer(b"secret inside", status="404 Not Found")

    def _loop(self, _: object) -> None:
        self._redirect({"to": ["/loop"]})

    def _slow_redirect(self, _: object) -> None:
        self.server.stop.wait(0.2)
        self._redirect({"to": ["/slow-redirect"]})

    def _bytes(self, _: object) -> None:
        """Sends a body in segments of one byte."""
        self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._endless(b"x", 0.0002)

    def _gzip_bomb(self, _: object) -> None:
        self._answer(gzip.compress(bytes(50_000_000), 1), "Content-Encoding: identity, GZIP\r\n")

    def _early_close(self, _: object) -> None:
        """Closes the connection without a response."""

    def _reset(self, _: object) -> None:
        # Closing with no time to linger sends a reset (socket(7), SO_LINGER).
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _body(self, _: object) -> None:
        self._raw(self.server.body)

    def _held(self, _: object) -> None:
        self.server.release.wait(60)
        self._answer(PHOTO)

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
        """Suppresses the log."""


@contextmanager
def hostile_server() -> Iterator[HostileServer]:
    server = HostileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.release.set()
        server.shutdown()
        thread.join()
        with suppress(OSError):
            server.server_close()
