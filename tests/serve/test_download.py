import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from http import cookiejar
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstand.images import MAX_BYTES
from headstand.serve import download
from headstand.serve.download import DownloadError, fetch, transport
from tests.serve.hostile import LARGE, PHOTO, HostileServer

PUBLIC = "93.184.215.14"


def local(url: str, timeout: float = 20.0) -> bytes:
    return fetch(url, timeout=timeout, allow_loopback=True)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(DownloadError) as excinfo:
        call()
    assert "127.0.0.1" not in str(excinfo.value) and "secret" not in str(excinfo.value)
    return excinfo.value.code


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Lets `getaddrinfo` return these answers in turn, then the last one; returns the list of resolved names."""
    real, hosts, remaining = socket.getaddrinfo, [], list(answers)

    def look_up(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        if host[:1].isdigit():  # an address that was settled on
            return real(host, port, *args, **kwargs)
        hosts.append(host)
        found = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        return [entry for item in found for entry in real(item, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return hosts


def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Resolves every name to this machine and fails the test at a connection; returns the list of resolved hosts.

    Addresses are resolved to themselves, in any spelling.
    """
    real, hosts = socket.getaddrinfo, []

    def look_up(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        hosts.append(host)
        try:
            return real(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            return real("127.0.0.1", port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: pytest.fail("connected"))
    return hosts


def test_a_download_returns_the_bytes_unchanged(server: HostileServer) -> None:
    assert local(server.url()) == PHOTO
    path, headers = server.requests[0]
    assert path == "/photo"
    assert headers["Accept-Encoding"] == "identity" and headers["User-Agent"].startswith("headstand/")
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0",
     "169.254.169.254", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "100.64.0.1", "[fe80::1%25lo]"],
)  # fmt: skip
def test_no_spelling_of_a_private_host_is_requested(server: HostileServer, host: str) -> None:
    assert code_of(lambda: fetch(f"http://{host}:{server.server_port}/photo")) in ("forbidden_address", "bad_url")
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    ["", "photo.jpg", "file:///etc/passwd", "ftp://example.org/x.jpg", "gopher://127.0.0.1/",
     "data:image/png;base64,AA", "http://", "http:///x.jpg", "http://user:secret@127.0.0.1/", "http://user@127.0.0.1/", "http://127.0.0.1:99999/",
     "http://127.0.0.1:x/", "http://a b/", "http://127.0.0.1/\r\nX: y", "http://[::1/", "http://*.example.org/",
     "http://" + "a" * 70 + ".example.org/", "http://127.0.0.1/" + "a" * 5000, "httpx://127.0.0.1/",
     "http://\x00127.0.0.1/", "http://\u2100.example.org/"],
)  # fmt: skip
def test_an_invalid_url_is_refused(url: str) -> None:
    assert code_of(lambda: local(url)) == "bad_url"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1.:1024/", "http://LOCALHOST:1024/", "http://1.1.1.1@127.0.0.1:1024/", "http://%31%32%37.0.0.1/",
     "http://127.0.0.1:1024\\@photos.example/", "http://127.0.0.1#@photos.example/", "http://127.0.0.1?@photos.example/",
     "http://１２７.０.０.１/", "http://127。0。0。1/", "http://①②⑦.0.0.1/", "http://0/", "http://0x0/", "http://127.0.1/",
     "http://[::]/", "http://[0:0:0:0:0:ffff:7f00:1]/", "http://[::ffff:0:127.0.0.1]/", "http://[::127.0.0.1]/",
     "http://[64:ff9b:1::1]/", "http://[2002:7f00:1::]/", "http://[2001:0:7f00:1::]/", "http://[fd20:ce::254]/",
     "http://[fe80::1%25eth0]/", "http://[::1%25lo]/", "http://192.168.257/", "http://0300.0250.1/", "http://[v1.x]/",
     "http://127.0.0.1%00.photos.example/", "http://127.0.0.1%2f.photos.example/", "http://\u200b127.0.0.1/",
     "http://127.0.0.1:/", "http://./", "http://../", "http://[1]/", "http:127.0.0.1/", "http:/127.0.0.1/",
     "http:///127.0.0.1/", "HTTP://127.0.0.1/", "http://\ud800/", "http://127.0.0.1/\ud800", "http://user@/"],
)  # fmt: skip
def test_no_spelling_of_a_private_address_leads_to_a_connection(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = offline(monkeypatch)
    assert code_of(lambda: fetch(url)) in ("forbidden_address", "bad_url")
    assert "photos.example" not in hosts


@pytest.mark.parametrize("port", [1, 21, 22, 25, 53, 79, 110, 445, 1023])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_ports_of_other_protocols_are_refused(port: int, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = offline(monkeypatch)
    assert code_of(lambda: fetch(f"{scheme}://photos.example:{port}/")) == "bad_url"
    assert hosts == []


@pytest.mark.parametrize("url", ["http://photos.example", "https://photos.example:80/", "http://photos.example:1024/"])
def test_ports_of_web_servers_are_allowed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offline(monkeypatch) == []
    assert code_of(lambda: fetch(url)) == "forbidden_address"


@given(
    text=st.text(alphabet=st.sampled_from("htps:/@[]%#?\\.0127x②。lo-_~ \t\r\n\x00\u200b\ud800é"), max_size=40),
    start=st.sampled_from(["", "http://", "https://", "http://127.0.0.1", "http://a@", "//"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_leads_to_a_connection_or_to_another_error(
    text: str, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        offline(patched)
        assert code_of(lambda: fetch(start + text)) in ("forbidden_address", "bad_url")


def test_every_address_of_a_host_must_be_public(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, [PUBLIC, "127.0.0.1"])
    assert code_of(lambda: fetch(f"http://mixed.example:{server.server_port}/photo")) == "forbidden_address"
    assert server.requests == []


@pytest.mark.parametrize("second", ["127.0.0.1", "192.168.0.1", "168.63.129.16"])
def test_an_address_that_changes_after_the_check_is_not_connected_to(
    server: HostileServer, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    hosts = resolver(monkeypatch, [PUBLIC], [second])
    connected: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: connected.append(address))
    assert code_of(lambda: fetch(f"http://rebinding.example:{server.server_port}/photo")) == "forbidden_address"
    assert hosts == ["rebinding.example"] * 2 and connected == []


def test_the_connection_goes_to_the_checked_address(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, ["127.0.0.1"])
    assert local(f"http://photos.example:{server.server_port}/photo") == PHOTO
    assert server.requests[0][1]["Host"] == f"photos.example:{server.server_port}"


def test_an_unknown_host_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert code_of(lambda: fetch("http://nowhere.example/x.jpg")) == "download_failed"


def test_a_slow_resolver_does_not_delay_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(3) or [])
    start = time.monotonic()
    assert code_of(lambda: fetch("http://slow.example/x.jpg", timeout=0.1)) == "download_timeout"
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_three_redirects_are_followed(server: HostileServer, hops: int) -> None:
    assert local(server.url(f"/hops?n={hops}")) == PHOTO
    assert len(server.requests) == hops + 1


def test_a_fourth_redirect_is_refused(server: HostileServer) -> None:
    assert code_of(lambda: local(server.url("/hops?n=4"))) == "too_many_redirects"
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("target", "code"),
    [("http://169.254.169.254/latest/meta-data/", "forbidden_address"), ("http://10.0.0.1/", "forbidden_address"),
     ("http://2852039166/", "forbidden_address"), ("//192.168.1.1/", "forbidden_address"),
     ("file:///etc/passwd", "bad_url"), ("http://me:secret@127.0.0.1/", "bad_url"), ("gopher://127.0.0.1/", "bad_url")],
)  # fmt: skip
def test_each_redirect_is_checked_again(server: HostileServer, target: str, code: str) -> None:
    assert code_of(lambda: local(server.url(f"/redirect?to={target}"))) == code
    assert len(server.requests) == 1


def test_the_body_of_a_redirect_is_not_read(server: HostileServer) -> None:
    assert local(server.url("/fat-redirect")) == PHOTO


@pytest.mark.parametrize(
    ("path", "code"),
    [("/missing", "http_error"), ("/huge", "download_too_large"), ("/huge-chunked", "download_too_large"),
     ("/huge-promised", "download_too_large"), ("/gzip", "download_failed"), ("/cut-short", "download_failed"),
     ("/no-length", "download_failed"), ("/no-http", "download_failed"), ("/loop", "too_many_redirects"),
     ("/many-headers", "download_failed"), ("/long-header", "download_failed"), ("/endless-headers", "download_failed"),
     ("/long-status", "download_failed"), ("/long-chunk-line", "download_failed"), ("/gzip-bomb", "download_failed"),
     ("/negative-chunk", "download_failed"), ("/two-lengths", "download_failed"), ("/early-close", "download_failed"),
     ("/reset", "download_failed"), ("/strange-location", "download_failed")],
)  # fmt: skip
def test_each_invalid_response_has_its_code(server: HostileServer, path: str, code: str) -> None:
    assert code_of(lambda: local(server.url(path))) == code


@pytest.mark.parametrize(
    "path", ["/slow-body", "/slow-headers", "/continues", "/silent", "/slow-redirect", "/endless-trailers"]
)
def test_the_time_limit_covers_every_step(server: HostileServer, path: str) -> None:
    start = time.monotonic()
    assert code_of(lambda: local(server.url(path), timeout=0.3)) == "download_timeout"
    for thread in threading.enumerate():
        if thread.name == "download":  # its connection is cut, so it ends by itself
            thread.join(10)
            assert not thread.is_alive()
    assert time.monotonic() - start < 8


@pytest.mark.parametrize(
    "path",
    ["/byte-chunks", "/small-chunks", "/extended-chunks", "/bytes", "/fast-trailers", "/long-trailers",
     "/fast-continues", "/long-continues", "/long-headers"],
)  # fmt: skip
def test_lines_and_reads_are_limited_not_only_bytes(server: HostileServer, path: str) -> None:
    with pytest.raises(DownloadError, match="too many small pieces") as excinfo:
        local(server.url(path))
    assert excinfo.value.code == "download_failed"
    for thread in threading.enumerate():
        if thread.name == "download":
            thread.join(10)
            assert not thread.is_alive()


def test_a_photo_that_is_sent_line_by_line_is_within_the_limits(
    server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte in 256 is a line feed, so that a naive server's chunks have 256 bytes on average."""
    assert local(server.url("/lines")) == LARGE
    monkeypatch.setattr(transport, "MIN_PIECE", 512)
    assert code_of(lambda: local(server.url("/lines"))) == "download_failed"


def test_the_limits_of_lines_are_exact(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"  # 3 lines
    server.body = head + b"1\r\nx\r\n" * 10 + b"0\r\n" + b"\r\n"  # 12 lines
    monkeypatch.setattr(transport, "MIN_PIECE", 10**9)
    monkeypatch.setattr(transport, "FREE_PIECES", 15)
    assert local(server.url("/body")) == b"x" * 10
    monkeypatch.setattr(transport, "MAX_LINES", 14)
    assert code_of(lambda: local(server.url("/body"))) == "download_failed"
    monkeypatch.undo()
    monkeypatch.setattr(transport, "MAX_LINE_BYTES", len(head) + 10 * 3 + 3 + 2)
    assert local(server.url("/body")) == b"x" * 10
    monkeypatch.setattr(transport, "MAX_LINE_BYTES", transport.MAX_LINE_BYTES - 1)
    assert code_of(lambda: local(server.url("/body"))) == "download_failed"


def test_a_redirect_has_at_most_4096_characters(server: HostileServer) -> None:
    longest = "/photo?" + "a" * (4096 - len(server.url("/photo?")))
    server.body = b"HTTP/1.1 302 Found\r\nLocation: " + longest.encode() + b"\r\n\r\n"
    assert local(server.url("/body")) == PHOTO
    server.body = b"HTTP/1.1 302 Found\r\nLocation: " + longest.encode() + b"a\r\n\r\n"
    assert code_of(lambda: local(server.url("/body"))) == "bad_url"


def test_cookies_are_not_parsed(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cookiejar, "parse_ns_headers", lambda *_: pytest.fail("parsed a cookie"))
    monkeypatch.setattr(cookiejar, "split_header_words", lambda *_: pytest.fail("parsed a cookie"))
    assert local(server.url("/cookies")) == PHOTO


LINES = st.one_of(
    st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.1 302 Found", b"HTTP/1.0 200", b"HTTP/1.1 204 No", b"HTTP/1.1 100 Continue",
         b"HTTP/2 200", b"HTTP/1.1 -1", b"HTTP/1.1 \xff", b"ICY 200 OK", b"Content-Length: 5", b"Content-Length: -5",
         b"Content-Length: 5, 5", b"Content-Length: \xd9\xa5", b"Content-Length: " + b"9" * 1000,
         b"Content-Length: 5_0",
         b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked, chunked", b"5", b"0",
         b"-1", b"+5", b"0x5", b"ffffffffffffffffffff", b"5;a=b", b"xxxxx", b"", b"", b":", b" folded", b"\0: \0",
         b"a" * 300,
         b"Location: /photo", b"Location: //[", b"Location: http://\xc3\x28/", b"Location: \xf0\x9f", b"Location:",
         b"Location: http://127.0.0.1:99999/", b"Location: http://127.0.0.1:\xb2/", b"Location: ///", b"Location: ?",
         b"Location: http://%5b/", b"Location: http://a]b/", b"Content-Encoding: gzip", b"Content-Encoding: \xff",
         b"Content-Type: text/html; charset=nothing", b"Connection: close", b"Set-Cookie: a=b; expires=x",
         b"Refresh: 0"]
    ),
    st.binary(max_size=12),
)  # fmt: skip


@given(
    lines=st.lists(LINES, max_size=12),
    start=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 301 Moved\r\n"]),
    end=st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r"]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_response_is_a_body_or_a_download_error(
    server: HostileServer, lines: list[bytes], start: bytes, end: bytes
) -> None:
    server.body = sent = start + end.join(lines)
    try:
        assert isinstance(local(server.url("/body")), bytes)
    except DownloadError as error:
        assert "127.0.0.1" not in str(error)
        # What is odd in an answer is no fault of the URL, unless it redirects.
        assert error.code != "bad_url" or b"ocation" in sent


def test_the_time_limit_covers_the_tls_handshake(server: HostileServer) -> None:
    assert code_of(lambda: local(server.url(scheme="https"), timeout=0.3)) == "download_timeout"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate of photos.example that it signed itself, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    paths = str(folder / "certificate.pem"), str(folder / "key.pem")
    names = ["-subj", "/CN=photos.example", "-addext", "subjectAltName=DNS:photos.example"]
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        *names,
    ]
    subprocess.run([*request, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


def test_https_checks_the_name_of_the_host_at_the_checked_address(
    server: HostileServer, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.sni_callback = lambda connection, name, _: names.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    resolver(monkeypatch, ["127.0.0.1"])
    url = f"https://photos.example:{server.server_port}"
    assert code_of(lambda: local(f"{url}/photo")) == "download_failed"  # the certificate is not trusted

    create = transport.session

    def request_with_certificate(*args: Any, **kwargs: Any) -> Any:
        session = create(*args, **kwargs)
        session.verify = certificate[0]
        return session

    monkeypatch.setattr(transport, "session", request_with_certificate)
    assert local(f"{url}/photo") == PHOTO and names == ["photos.example"] * 2
    assert code_of(lambda: local(f"{url.replace('photos', 'other')}/photo")) == "download_failed"
    assert code_of(lambda: local(f"{url}/slow-headers", timeout=0.5)) == "download_timeout"
    assert "/photo" not in [path for path, _ in server.requests[1:]]  # the refused ones sent nothing


def test_a_closed_port_is_an_error(server: HostileServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert code_of(lambda: local(f"http://127.0.0.1:{port}/")) == "download_failed"


def test_an_empty_body_is_returned(server: HostileServer) -> None:
    assert local(server.url("/empty")) == b""


def test_a_body_of_exactly_the_limit_is_returned(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(PHOTO) < MAX_BYTES
    monkeypatch.setattr(download, "MAX_BYTES", len(PHOTO))
    assert local(server.url()) == PHOTO
    monkeypatch.setattr(download, "MAX_BYTES", len(PHOTO) - 1)
    assert code_of(lambda: local(server.url())) == "download_too_large"


def test_proxies_and_passwords_of_the_environment_are_not_used(
    server: HostileServer, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert local(server.url()) == PHOTO
    assert "Authorization" not in server.requests[0][1]
