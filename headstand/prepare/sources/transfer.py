"""One connection to where a file lies: over HTTP, or in an S3 bucket."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests
import urllib3

from headstand.errors import HeadstandError
from headstand.remote import RemoteError, is_remote, shown
from headstand.remote.store import opened, told

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""

_PIECE = 2**20


class DownloadError(HeadstandError):
    """A file that cannot be fetched, or is not the one that its digest names."""


class BrokenError(Exception):
    """A transfer that stopped midway, and may be taken up again."""


class StaleError(BrokenError):
    """What was received is of another version of the file; only from the start can it be fetched."""


@dataclass(frozen=True)
class Transfer:
    """An open transfer.

    `stream` gives the bytes from `start` on; `size` is the whole file's, if known; `version` names the file's content
    for the server (an entity tag or date), if it has a name.
    """

    stream: Iterator[bytes]
    start: int
    size: int | None
    version: str | None


def is_address(location: str) -> bool:
    """Whether `location` is an address, such as `https://` or `s3://`, rather than a path."""
    return is_remote(location)


@contextmanager
def http(address: str, have: int, version: str | None) -> Iterator[Transfer]:
    """Ask a web server for a file, from byte `have` on if it is still `version`.

    Raises:
        BrokenError: no connection, or one that was cut; may be tried again.
        DownloadError: an answer that will not change.
    """
    # Encoded transfers have neither the file's length nor its digest, and cannot be taken up midway.
    headers = {"Accept-Encoding": "identity"}
    if have and version:
        # Only the same version goes on (RFC 9110, 13.1.5); of another the server sends all.
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT) as response:
            yield _answer(address, response, have, version)
    except requests.exceptions.TooManyRedirects:
        raise DownloadError(f"{shown(address)} leads from one address to the next without end") from None
    except requests.exceptions.SSLError:
        raise DownloadError(f"{shown(address)} has no valid certificate: check the address") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
        raise DownloadError(f"{shown(address)} is not an address that can be asked") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        # Their texts hold the address, and that may hold secrets.
        slow = isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError)
        raise BrokenError("nothing came in time" if slow else "no connection, or it was cut") from error


def _answer(address: str, response: requests.Response, have: int, version: str | None) -> Transfer:
    status, sent = response.status_code, response.headers
    # A weak tag may stand for other bytes too, so it cannot vouch for a part.
    tag = sent.get("ETag", "")
    named = tag if tag.startswith('"') else sent.get("Last-Modified")
    stream = response.raw.stream(_PIECE, decode_content=False)
    if status == 200:
        length = sent.get("Content-Length", "")
        return Transfer(stream, 0, int(length) if length.isdecimal() else None, named)
    if status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", sent.get("Content-Range", ""))
        if not match or int(match[1]) != have or (named and named != version):
            raise StaleError("the server sent another part than was asked for")
        return Transfer(stream, have, int(match[2]), version)
    if status == 416:
        if sent.get("Content-Range", "") == f"bytes */{have}":
            return Transfer(iter(()), have, have, version)  # all was here already
        raise StaleError("the file has become shorter")
    if status == 429 or status >= 500:
        raise BrokenError(f"HTTP {status} {response.reason}".rstrip())
    raise DownloadError(f"{shown(address)} answers HTTP {status} {response.reason}: check the address")


@contextmanager
def store(address: str, have: int, version: str | None) -> Iterator[Transfer]:
    """Ask S3, or any other store that fsspec supports, for a file; errors as `http`.

    Credentials are those of the store's own tools (`AWS_PROFILE` and so on).
    """
    try:
        with told(address):
            system, path = opened(address)
            try:
                about = system.info(path)
            except FileNotFoundError:
                raise DownloadError(f"{shown(address)} does not exist: check the address") from None
            if about["type"] != "file" or address.endswith("/"):
                raise DownloadError(f"{shown(address)} does not name a file: it should read s3://BUCKET/KEY")
            size = int(about["size"])
            # The store's name for this version of the file; a store without one sends it from the start.
            named = next((str(about[key]) for key in ("ETag", "etag", "mtime", "generation") if about.get(key)), None)
            start = have if named and named == version and have <= size else 0
            with system.open(path, "rb") as file:
                file.seek(start)
                yield Transfer(iter(lambda: file.read(_PIECE), b""), start, size, named)
    except RemoteError as error:
        if error.code in ("PreconditionFailed", "412"):
            raise StaleError("the file changed meanwhile") from error
        if error.temporary:
            raise BrokenError("no connection, or it was cut") from error
        raise DownloadError(str(error)) from None
