"""Download of images from URLs that untrusted clients send, from public addresses only (protection against SSRF).

Every address of the host must be public, the connection goes to a checked address, and each redirect is checked again.
Bytes, lines, reads and time are limited, including those of headers and trailers.
"""

import queue
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING

from headstand.errors import ClientError
from headstand.images import MAX_BYTES

if TYPE_CHECKING:
    from requests import Response

    from headstand.serve.download.transport import Guard

TIMEOUT = 10.0
"""Time limit of a whole download in seconds: name resolution, connections, redirects, headers and body."""

MAX_REDIRECTS = 3

MAX_URL = 4096
"""Maximum length of a URL in characters."""

_PORTS = {"http": 80, "https": 443}
"""Default port by scheme; also the only allowed ports below 1024.

The others belong to mail, remote shells and name servers, which clients must not be able to reach through the service.
"""

_PIECE = 64 * 1024

FORBIDDEN = "the URL's host does not have public addresses only"


class DownloadError(ClientError):
    """Error for a URL from which no image can be downloaded.

    `code` is `bad_url`, `forbidden_address`, `download_failed`, `download_timeout`, `download_too_large`, `http_error`
    or `too_many_redirects`. The message never contains an address or details of the network.
    """


def fetch(url: str, *, timeout: float = TIMEOUT, allow_loopback: bool = False) -> bytes:
    """Downloads a URL and returns the body of the response.

    Args:
        url: `http://` or `https://`, without a user name or password.
        timeout: seconds for the whole download.
        allow_loopback: accept this machine's own addresses, for tests that run a local server. It is never set from a
            client's input.

    Returns:
        The body, `MAX_BYTES` at most, not decoded.

    Raises:
        DownloadError: the URL is not allowed or the download failed; see its codes.
    """
    url = _checked(url)
    from headstand.serve.download.transport import Guard

    guard = Guard(allow_loopback=allow_loopback)
    outcome: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()

    def work() -> None:
        result: bytes | BaseException
        try:
            result = _follow(url, guard, time.monotonic() + timeout, allow_loopback)
        except BaseException as error:
            result = error
        guard.release()
        # requests and urllib parse URLs with cached functions; a client's URL must not stay in memory.
        urllib.parse.clear_cache()  # type: ignore[attr-defined]
        outcome.put(result)
        del result  # no reference cycle, as below

    # In a separate thread, because name resolution cannot be interrupted: at the deadline the connections are shut down
    # and the thread ends by itself.
    threading.Thread(target=work, name="download", daemon=True).start()
    try:
        result = outcome.get(timeout=timeout)
    except queue.Empty:
        guard.cut()
        raise DownloadError("download_timeout", f"the download took more than {timeout:g} seconds") from None
    if isinstance(result, BaseException):
        try:
            raise result
        finally:
            # The error's traceback refers to this frame and to the frame that holds the partial body. If this frame
            # referred to the error, up to 20 MB would stay in memory until the garbage collector finds the cycle.
            del result
    return result


def _follow(url: str, guard: "Guard", deadline: float, allow_loopback: bool) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        body, target = _request(url, guard, deadline, allow_loopback)
        if target is None:
            return body
        url = target
    raise DownloadError("too_many_redirects", f"the URL redirects more than {MAX_REDIRECTS} times")


def _request(url: str, guard: "Guard", deadline: float, allow_loopback: bool) -> tuple[bytes, str | None]:
    """Makes one request and returns `(body, None)`, or `(b"", target)` if the response is a redirect."""
    import http.client

    import requests
    import urllib3
    from requests_hardened.ip_filter import InvalidIPAddress

    from headstand.serve.download import address, transport

    timeout = max(deadline - time.monotonic(), 0.001)
    try:
        with transport.session(guard, timeout=timeout, allow_loopback=allow_loopback) as session:
            try:
                prepared = session.prepare_request(requests.Request("GET", url))
                parts = urllib3.util.parse_url(prepared.url or "")
            except ValueError:  # base class of requests' errors for a bad URL
                raise DownloadError("bad_url", "the URL is not a valid http:// or https:// address") from None
            if parts.scheme not in _PORTS or not parts.host or parts.auth is not None:
                raise DownloadError("bad_url", "the URL must be http:// or https://, without a user name or password")
            port = parts.port if parts.port is not None else _PORTS[parts.scheme]
            if port < 1024 and port not in _PORTS.values():
                raise DownloadError("bad_url", f"the URL's port {port} is not one of 80, 443 and those from 1024 on")
            try:
                addresses = address.resolve(parts.host.strip("[]"), port)
            except OSError:
                raise DownloadError("download_failed", "the URL's host cannot be found") from None
            except UnicodeError:
                raise DownloadError("bad_url", "the URL's host is not a valid host name") from None
            guard.admit(*addresses)
            with session.send(prepared, stream=True) as response:
                location = session.get_redirect_target(response)
                if location is not None:
                    # The target is checked before it is parsed, like a client's URL; joining adds only scheme and host.
                    return b"", _checked(urllib.parse.urljoin(prepared.url or "", _checked(location)))
                return _body(response), None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
        raise DownloadError("bad_url", "the URL is not a valid http:// or https:// address") from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
        raise DownloadError("download_timeout", "the download took too long") from None
    except requests.exceptions.SSLError:
        raise DownloadError("download_failed", "the URL's host has no valid certificate for https") from None
    except requests.RequestException as error:
        if isinstance(error, InvalidIPAddress):
            raise DownloadError("forbidden_address", FORBIDDEN) from None
        raise DownloadError("download_failed", "the download failed: the host cannot be reached") from None
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError):
        raise DownloadError("download_failed", "the download failed: the response is incomplete or not HTTP") from None


def _checked(url: str) -> str:
    """Returns a URL without surrounding white space; raises `bad_url` for a wrong length or wrong characters."""
    if len(url) > MAX_URL:
        raise DownloadError("bad_url", f"the URL has {len(url):,} characters; the longest allowed is {MAX_URL:,}")
    text = url.strip()
    if any(ord(character) <= 32 or ord(character) == 127 for character in text):
        raise DownloadError("bad_url", "the URL contains spaces or control characters; percent-encode them")
    return text


def _body(response: "Response") -> bytes:
    if response.status_code != 200:
        raise DownloadError("http_error", f"the URL's server responded with status {response.status_code}")
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise DownloadError("download_failed", "the URL's server sent a compressed response that was not requested")
    if int(response.headers.get("Content-Length") or 0) > MAX_BYTES:
        raise _too_large()
    body = bytearray()
    while piece := response.raw.read(_PIECE, decode_content=False):
        body += piece
        if len(body) > MAX_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> DownloadError:
    return DownloadError("download_too_large", f"the URL's response has more than {MAX_BYTES:,} bytes")
