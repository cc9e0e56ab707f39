"""Incremental parser that extracts HTTP/1.1 requests from the bytes of a connection as they arrive.

gunicorn's parser reads from a blocking socket, so a client that sends slowly occupies a thread. Here the bytes are
collected first, and gunicorn's parser gets the head once it is complete.
"""

import io
import ipaddress
import re
from typing import Any

from gunicorn.http.body import CHUNK_EXT_RE
from gunicorn.http.errors import (
    InvalidChunkSize,
    InvalidHeader,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

from headstand.serve.content import MAX_BODY

MAX_HEAD = 64 * 1024
"""Maximum size of a request's first line and headers together, in bytes."""

MAX_CHUNK_LINE = 256
"""Maximum length of a line with a chunk's size, including extensions, in bytes."""

MAX_CHUNKS = 10_000
"""Maximum number of chunks in one body: each costs processor time and may hold only one byte."""

_BARE_LF = re.compile(rb"(?<!\r)\n")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})" + CHUNK_EXT_RE.pattern)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){1,255})(?::(\d{0,5}))?", re.ASCII)


class BodyTooLargeError(ParseException):
    """Error for a body that is, or is announced to be, larger than `MAX_BODY`."""


class Framing:
    """Buffer and parser for the request that is arriving on one connection, and for the bytes after it.

    Args:
        cfg: gunicorn's settings, for the limits of the first line and the headers.
        client: the peer's address, as `socket.accept` returns it.
    """

    def __init__(self, cfg: Any, client: Any) -> None:
        self._cfg, self._client = cfg, client
        self._data = bytearray()
        self._number = 0
        self._start()

    def _start(self) -> None:
        self._request: Any = None
        self._body = bytearray()
        self._searched = 0
        self._length = 0
        self._chunked = False
        self._phase, self._left, self._chunks = "size", 0, 0

    @property
    def size(self) -> int:
        """Bytes held in memory."""
        return len(self._data) + len(self._body)

    @property
    def has_head(self) -> bool:
        """Whether the head of a request has arrived, but not its whole body."""
        return self._request is not None

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body (RFC 9110, 10.1.1)."""
        if self._request is None or self._request.version < (1, 1):
            return False
        return ("EXPECT", "100-continue") in [(name, value.lower()) for name, value in self._request.headers]

    def feed(self, piece: bytes) -> None:
        """Appends bytes that arrived."""
        self._data += piece

    def take(self) -> Any | None:
        """Returns the next complete request, a gunicorn `Request`; None while parts of it are missing.

        Its `body` is a `BytesIO` of the whole body, with chunks already joined.

        Raises:
            ParseException: the bytes are not HTTP/1.1, or exceed a limit. The connection must be closed.
        """
        if self._request is None and not self._parse_head():
            return None
        if self._chunked:
            if not self._join_chunks():
                return None
            body = bytes(self._body)
        else:
            if len(self._data) < self._length:
                return None
            body = bytes(self._data[: self._length])
            del self._data[: self._length]
        request = self._request
        request.body = io.BytesIO(body)
        self._start()
        return request

    def _parse_head(self) -> bool:
        data = self._data
        end = data.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            limit = self._cfg.limit_request_line
            if len(data) > limit + 2 and data.find(b"\r\n", 0, limit + 2) < 0:
                raise LimitRequestLine(len(data), limit)
            if _BARE_LF.search(data, max(0, self._searched - 1)):
                raise InvalidHeader("line that ends without CR")
            self._searched = len(data)
        if max(end, self._searched) > MAX_HEAD:
            raise LimitRequestHeaders("size of the head")
        if end < 0:
            return False
        head = bytes(data[: end + 4])
        del data[: end + 4]
        self._number += 1
        try:
            request = Request(self._cfg, IterUnreader(iter([head])), self._client, self._number)
        except NoMoreData as error:  # possible if the PROXY protocol is switched on
            raise InvalidHeader("incomplete head") from error
        _check_host(request)
        # gunicorn refuses a request with both headers, with several lengths, or whose last coding is not `chunked`. It
        # takes other codings before that one, but does not decode them.
        codings = [value.lower() for name, value in request.headers if name == "TRANSFER-ENCODING"]
        if codings not in ([], ["chunked"]):
            raise UnsupportedTransferCoding(", ".join(codings))
        headers = dict(request.headers)
        self._chunked = bool(codings)
        self._length = int(headers.get("CONTENT-LENGTH", 0))
        if self._length > MAX_BODY:
            raise BodyTooLargeError
        self._request = request
        return True

    def _join_chunks(self) -> bool:
        """Moves chunk data from `_data` to `_body` and returns whether the body is complete (RFC 9112, 7.1)."""
        data, position = self._data, 0
        complete = False
        while not complete:
            missing = len(data) - position
            if self._phase == "data":
                piece = data[position : position + self._left]
                self._body += piece
                position += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._phase = "end"
            elif self._phase == "end":
                if missing < 2:
                    break
                if data[position : position + 2] != b"\r\n":
                    raise InvalidChunkSize("chunk without its end")
                position += 2
                self._phase = "size"
            elif self._phase == "size":
                end = data.find(b"\r\n", position, position + MAX_CHUNK_LINE)
                if end < 0 and missing < MAX_CHUNK_LINE:
                    break
                line = _CHUNK_LINE.fullmatch(data, position, max(end, position))
                self._chunks += 1
                if line is None or self._chunks > MAX_CHUNKS:
                    raise InvalidChunkSize("size of a chunk, or too many chunks")
                self._left = int(line[1], 16)
                if len(self._body) + self._left > MAX_BODY:
                    raise BodyTooLargeError
                position = end + 2
                self._phase = "data" if self._left else "trailers"
            else:  # trailers are checked, so that a proxy sees their end here, too, and discarded (RFC 9110, 6.5.1)
                if data[position : position + 2] == b"\r\n":
                    position += 2
                    complete = True
                    continue
                end = data.find(b"\r\n\r\n", position, position + MAX_HEAD)
                if end < 0 and missing >= MAX_HEAD:
                    raise LimitRequestHeaders("size of the trailers")
                if end < 0:
                    break
                self._request.parse_headers(bytes(data[position:end]), from_trailer=True)
                position = end + 4
                complete = True
        del data[:position]
        return complete


def _check_host(request: Any) -> None:
    """Raises InvalidHeader if `Host` is missing in HTTP/1.1, invalid or repeated (RFC 9112, 3.2)."""
    hosts = [value for name, value in request.headers if name == "HOST"]
    if not hosts and request.version < (1, 1):
        return
    if len(hosts) != 1 or not _is_host(hosts[0]):
        raise InvalidHeader("HOST", req=request)


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    if not found or int(found[2] or 0) > 65535:
        return False
    if text.startswith("["):
        try:
            ipaddress.IPv6Address(found[1][1:-1])
        except ValueError:
            return False
    return True
