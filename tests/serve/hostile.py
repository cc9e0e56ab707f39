"""A web server on this machine that misbehaves on purpose: one path for each way."""

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
"""As many bytes as a small photo, and as random."""


class HostileServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stop = threading.Event()
        self.release = threading.Event()
        """`/held` answers once it is set."""
        self.words = b""
        """What `/says` answers, head and body."""

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

    def _loop(self, _: object) -> None:
        self._redirect({"to": ["/loop"]})

    def _slow_redirect(self, _: object) -> None:
        self.server.stop.wait(0.2)
        self._redirect({"to": ["/slow-redirect"]})

    def _cookies(self, _: object) -> None:
        """Those of RFC 2965 are split by a pattern that takes a second for each of these lines."""
        lines = b"Set-Cookie: a=1\r\n" + (b"Set-Cookie2: " + b"a=1," * 16_000 + b"\r\n") * 4
        self._raw(b"HTTP/1.1 200 OK\r\n" + lines + f"Content-Length: {len(PHOTO)}\r\n\r\n".encode() + PHOTO)

    def _many_headers(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n" + PHOTO)

    def _long_header(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000 + b"\r\n\r\n" + PHOTO)

    def _endless_headers(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\n")
        self._endless(b"a: b\r\n" * 1000)

    def _long_status(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 " + b"b" * 70_000 + b"\r\n\r\n" + PHOTO)

    def _fast_continues(self, _: object) -> None:
        self._endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    def _fast_trailers(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        self._endless(b"a: b\r\n" * 1000)

    def _long_trailers(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        self._endless(b"a: " + b"b" * 60_000 + b"\r\n")

    def _long_continues(self, _: object) -> None:
        self._endless(b"HTTP/1.1 100 Continue\r\na: " + b"b" * 60_000 + b"\r\n\r\n")

    def _long_headers(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\n" + (b"a: " + b"b" * 60_000 + b"\r\n") * 90 + b"\r\n" + PHOTO)

    def _byte_chunks(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._endless(b"1\r\nx\r\n" * 1000)

    def _small_chunks(self, _: object) -> None:
        """Each as large as it must be on average; there are too many of them."""
        self._raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._endless((b"80\r\n" + b"x" * 128 + b"\r\n") * 1000)

    def _extended_chunks(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._endless((b"400;" + b"a" * 4000 + b"\r\n" + b"x" * 1024 + b"\r\n") * 10)

    def _bytes(self, _: object) -> None:
        """A body in segments of one byte, each sent when the one before it was read."""
        self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._endless(b"x", pause=0.0002)

    def _lines(self, _: object) -> None:
        """A photo as a naive server sends it: a chunk for each line of the file."""
        self._raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._raw(b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in BytesIO(LARGE)) + b"0\r\n\r\n")

    def _endless_trailers(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        self._endless(b"a: b\r\n", pause=0.02)

    def _long_chunk_line(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 70_000 + b"\r\nx\r\n0\r\n\r\n")

    def _negative_chunk(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nx\r\n0\r\n\r\n")

    def _two_lengths(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxx")

    def _gzip_bomb(self, _: object) -> None:
        self._answer(gzip.compress(bytes(50_000_000)), "Content-Encoding: identity, GZIP\r\n")

    def _early_close(self, _: object) -> None:
        """Nothing: the connection ends without an answer."""

    def _reset(self, _: object) -> None:
        # Closing with no time to linger sends a reset (socket(7), SO_LINGER).
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _strange_location(self, _: object) -> None:
        self._raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://\xff\xfe[::1/\r\n\r\n")

    def _says(self, _: object) -> None:
        self._raw(self.server.words)

    def _slow_body(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        self._endless(b"x", pause=0.02)

    def _slow_headers(self, _: object) -> None:
        self._raw(b"HTTP/1.1 200 OK\r\nX: ")
        self._endless(b"x", pause=0.02)

    def _continues(self, _: object) -> None:
        self._endless(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.02)

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
        server.release.set()
        server.shutdown()
        thread.join()
        with suppress(OSError):
            server.server_close()
