import contextlib

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import (
    InvalidChunkSize,
    InvalidHeader,
    InvalidHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ObsoleteFolding,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.http.parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st

from headstand.serve.content import MAX_BODY
from headstand.serve.framing import MAX_CHUNKS, MAX_HEAD, BodyTooLargeError, Framing

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def framing() -> Framing:
    return Framing(Config(), ("127.0.0.1", 1))


def bodies(data: bytes, sizes: list[int]) -> list[bytes]:
    """The bodies of all requests in bytes that arrive in pieces of these sizes, then all at once."""
    found, parser = [], framing()
    for size in [*sizes, len(data)]:
        piece, data = data[:size], data[size:]
        parser.feed(piece)
        while request := parser.take():
            found.append(request.body.read())
    return found


@given(st.lists(st.binary(max_size=40), max_size=4), st.lists(st.integers(1, 30), max_size=30), st.booleans())
def test_requests_are_extracted_however_they_are_split(sent: list[bytes], sizes: list[int], chunked: bool) -> None:
    def write(body: bytes) -> bytes:
        if not chunked:
            return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
        pieces = [body[start : start + 7] for start in range(0, len(body), 7)]
        return CHUNKED + b"".join(b"%x;a=b\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\nA: b\r\n\r\n"

    assert bodies(b"".join(map(write, sent)), sizes) == sent


@given(st.binary(max_size=300), st.sampled_from([b"", HEAD, CHUNKED, CHUNKED + b"3\r\nabc", CHUNKED + b"0\r\n"]))
def test_any_bytes_are_a_request_an_incomplete_one_or_a_parse_error(noise: bytes, start: bytes) -> None:
    parser = framing()
    parser.feed(start + noise)
    with contextlib.suppress(ParseException):
        parser.take()


@pytest.mark.parametrize(
    "host",
    [
        "x",
        "localhost:8000",
        "a.b-c.example",
        "a_b",
        "10.0.0.1:80",
        "[::1]:8000",
        "[::ffff:1.2.3.4]",
        "x:",
        "%41",
        "x:0",
    ],
)
def test_a_host_may_be_a_name_or_an_address_with_a_port(host: str) -> None:
    assert bodies(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), []) == [b""]


@pytest.mark.parametrize(
    "lines",
    ["", "Host:\r\n", "Host: [\r\n", "Host: ]\r\n", "Host: [::1\r\n", "Host: [x]\r\n", "Host: [1:2]\r\n",
     "Host: a b\r\n",
     "Host: a/b\r\n", "Host: a@b\r\n", "Host: a:b\r\n", "Host: a:99999\r\n", "Host: a:1:2\r\n", "Host: a\\b\r\n",
     "Host: a?\r\n", "Host: a#b\r\n", "Host: %zz\r\n", "Host: \xe9\r\n", "Host: <x>\r\n", "Host: x\r\nHost: x\r\n",
     "Host: " + "a" * 300 + "\r\n", "Host: a:\xb2\r\n"],
)  # fmt: skip
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_invalid_host_is_refused(lines: str, version: str) -> None:
    parser = framing()
    parser.feed(f"GET / HTTP/{version}\r\n{lines}\r\n".encode("latin-1"))
    if version == "1.0" and not lines:
        assert parser.take()
    else:
        with pytest.raises(InvalidHeader):
            parser.take()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"GET /" + b"a" * 5000, LimitRequestLine),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * MAX_HEAD, LimitRequestHeaders),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000 + b"\r\n", LimitRequestHeaders),
        (b"GET / HTTP/1.1\nHost: x\n\n", InvalidHeader),
        (HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1), BodyTooLargeError),
        (HEAD + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n", BodyTooLargeError),
        (HEAD + b"Content-Length: 1" + b"0" * 300 + b"\r\n\r\n", BodyTooLargeError),
        (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", InvalidHeader),
        (HEAD + b"Content-Length: 1e300\r\n\r\n", InvalidHeader),
        (HEAD + b"Content-Length: +1\r\n\r\n", InvalidHeader),
        (HEAD + b"Content-Length: 5, 5\r\n\r\n", InvalidHeader),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", InvalidHeader),
        (HEAD + b"Content-Length: \xb2\r\n\r\n", InvalidHeader),
        (HEAD + b"Content-Length : 5\r\n\r\n", InvalidHeaderName),
        (HEAD + b"Content-Length: 5\r\n 0\r\n\r\n", ObsoleteFolding),
        (HEAD + b"Content-Length: 5\nA: b\r\n\r\n", InvalidHeader),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", InvalidHeader),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", UnsupportedTransferCoding),
        (HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", UnsupportedTransferCoding),
        (HEAD + b"Transfer-Encoding: identity, chunked\r\n\r\n", UnsupportedTransferCoding),
        (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n", InvalidHeader),
        (HEAD + b"Transfer-Encoding: identity\r\n\r\n", InvalidHeader),
        (HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n", InvalidHeader),
        (CHUNKED + b"%x\r\n" % (MAX_BODY + 1), BodyTooLargeError),
        (CHUNKED + b"ffffffffffffffff\r\n", InvalidChunkSize),
        (CHUNKED + b"-5\r\n", InvalidChunkSize),
        (CHUNKED + b"0x5\r\n", InvalidChunkSize),
        (CHUNKED + b"\r\n", InvalidChunkSize),
        (CHUNKED + b"5;" + b"a" * 300, InvalidChunkSize),
        (CHUNKED + b"1 \r\n", InvalidChunkSize),
        (CHUNKED + b"1\na\r\n", InvalidChunkSize),
        (CHUNKED + b"1;\r\n", InvalidChunkSize),
        (CHUNKED + b"1;a b\r\n", InvalidChunkSize),
        (CHUNKED + b'1;a="b\r\n', InvalidChunkSize),
        (CHUNKED + b"1;a\rb\r\n", InvalidChunkSize),
        (CHUNKED + b"1\r\nab\r\n", InvalidChunkSize),
        (CHUNKED + b"0\r\nA: b\n\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", InvalidHeader),
        (CHUNKED + b"0\r\nA b\r\n\r\n", InvalidHeader),
        (CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", InvalidHeaderName),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 20_000, LimitRequestHeaders),
        (CHUNKED + b"1\r\na\r\n" * (MAX_CHUNKS + 1), InvalidChunkSize),
    ],
    ids=range(41),
)
def test_each_limit_is_enforced(data: bytes, error: type[Exception]) -> None:
    parser = framing()
    parser.feed(data)
    with pytest.raises(error):
        parser.take()


COMPLETE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", HEAD + b"Content-Length: 3\r\n\r\nabc",
    CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", CHUNKED + b'3 ; a="b;\\""\r\nabc\r\n0\r\nA: b\r\n\r\n',
]  # fmt: skip
NOISE = [
    b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: h2c\r\n", b"A: b\r\n", b"3\r\nabc\r\n",
    b"0\r\n", b"\r\n", b"\r\n ", b"\n", b"\n\n", b"\r", b" ", b";", b"3", b",", b"+", b"\0",
]  # fmt: skip


@st.composite
def disturbed(draw: st.DrawFn) -> bytes:
    """Up to three complete requests with up to two changes."""
    data = b"".join(draw(st.lists(st.sampled_from(COMPLETE), min_size=1, max_size=3)))
    for noise in draw(st.lists(st.sampled_from(NOISE), max_size=2)):
        position = draw(st.integers(0, len(data)))
        data = data[:position] + noise + data[position:]
    return data


@given(disturbed())
def test_a_chunked_body_ends_where_gunicorns_reader_ends_it(data: bytes) -> None:
    """Where one of both sees another request than the other, one is smuggled past a proxy."""
    parsed, reference, parser = [], [], framing()
    parser.feed(data)
    with contextlib.suppress(ParseException):
        while request := parser.take():
            parsed.append((request.method, request.body.read()))
    with contextlib.suppress(ParseException, OSError, StopIteration):
        for request in RequestParser(Config(), iter([data]), ("127.0.0.1", 1)):
            reference.append((request.method, request.body.read()))
    assert parsed == reference[: len(parsed)]


def test_as_many_chunks_as_allowed_are_joined() -> None:
    assert bodies(CHUNKED + b"1\r\na\r\n" * (MAX_CHUNKS - 1) + b"0\r\n\r\n", []) == [b"a" * (MAX_CHUNKS - 1)]


def test_expect_100_continue_is_recognised() -> None:
    for version, value, expected in (("1.1", "100-Continue", True), ("1.0", "100-continue", False)):
        parser = framing()
        head = f"POST / HTTP/{version}\r\nHost: x\r\nExpect: {value}\r\nContent-Length: 3\r\n\r\n"
        assert not parser.expects_continue
        parser.feed(head.encode())
        assert parser.take() is None and parser.has_head and parser.expects_continue is expected
