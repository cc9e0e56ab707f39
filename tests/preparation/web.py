"""A web server on loopback whose responses a test controls."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site(ThreadingHTTPServer):
    """Serves one file at every path, with ranges; records the headers of the requests.

    `cuts` are numbers of bytes after which the next responses end; `statuses` are the statuses of the next responses.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.data = data
        self.tag: str | None = '"1"'
        self.date: str | None = None
        self.ranges = True
        self.length = True
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.location: str | None = None
        self.supports_if_range = True
        self.requests: list[dict[str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files/photos.zip"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site = self.server
        site.requests.append({name.lower(): value for name, value in self.headers.items()})
        if site.statuses:
            self.send_response(site.statuses.pop(0))
            if site.location:
                self.send_header("Location", site.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if site.ranges else None
        condition = self.headers.get("If-Range")
        if condition and site.supports_if_range and condition not in (site.tag, site.date):
            wanted = None
        start, size = int(wanted[1]) if wanted else 0, len(site.data)
        if wanted and start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        for name, value in (("ETag", site.tag), ("Last-Modified", site.date)):
            if value:
                self.send_header(name, value)
        if site.length:
            self.send_header("Content-Length", str(size - start))
        self.end_headers()
        body = site.data[start:]
        self.wfile.write(body[: site.cuts.pop(0)] if site.cuts else body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def site(data: bytes) -> Iterator[Site]:
    with Site(data) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
