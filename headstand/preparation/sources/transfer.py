"""Transfer of one file over one connection, from an HTTP server or from a store such as S3."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests
import urllib3

from headstand.errors import HeadstandError
from headstand.storage import RemoteError, shown
from headstand.storage.store import opened, translated_errors

TIMEOUT = (10.0, 60.0)
"""Timeouts in seconds for connecting and for reading the next bytes."""

_PIECE = 2**20


class TransferError(HeadstandError):
    """Raised for a file that cannot be downloaded or does not have the expected digest."""


class InterruptedTransferError(Exception):
    """Raised for an interrupted transfer, which may be resumed."""


class ChangedFileError(InterruptedTransferError):
    """Raised if the bytes received are of another version of the file, so that the download must start over."""


@dataclass(frozen=True)
class Transfer:
    """An open transfer.

    Attributes:
        stream: iterator over the file's bytes from `start` on.
        start: offset in bytes.
        size: size of the whole file in bytes, if known.
        version: the server's identifier of the file's content (an entity tag or date), if it has one.
    """

    stream: Iterator[bytes]
    start: int
    size: int | None
    version: str | None


@contextmanager
def http(address: str, have: int, version: str | None) -> Iterator[Transfer]:
    """Opens a transfer from a web server, from byte `have` on if the file still has the version `version`.

    Raises:
        InterruptedTransferError: no connection, a broken one, or a temporary HTTP error; the transfer may be retried.
        TransferError: a permanent error.
    """
    # Encoded transfers have neither the file's length nor its digest, and cannot be resumed.
    headers = {"Accept-Encoding": "identity"}
    if have and version:
        # Only the same version is resumed (RFC 9110, 13.1.5); of another version the server sends the whole file.
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT) as response:
            yield _answer(address, response, have, version)
    except requests.exceptions.TooManyRedirects:
        raise TransferError(f"{shown(address)} leads from one address to the next without end") from None
    except requests.exceptions.SSLError:
        raise TransferError(f"{shown(address)} has no valid certificate: check the address") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
        raise TransferError(f"{shown(address)} is not an address that can be asked") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        # The messages of these errors contain the URL, which may contain secrets.
        slow = isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError)
        raise InterruptedTransferError("nothing came in time" if slow else "no connection, or it was cut") from error


def _answer(address: str, response: requests.Response, have: int, version: str | None) -> Transfer:
    status, sent = response.status_code, response.headers
    # A weak entity tag does not identify the exact bytes, so it cannot be used to resume.
    tag = sent.get("ETag", "")
    named = tag if tag.startswith('"') else sent.get("Last-Modified")
    stream = response.raw.stream(_PIECE, decode_content=False)
    if status == 200:
        length = sent.get("Content-Length", "")
        return Transfer(stream, 0, int(length) if length.isdecimal() else None, named)
    if status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", sent.get("Content-Range", ""))
        if not match or int(match[1]) != have or (named and named != version):
            raise ChangedFileError("the server sent another part than was asked for")
        return Transfer(stream, have, int(match[2]), version)
    if status == 416:
        if sent.get("Content-Range", "") == f"bytes */{have}":
            return Transfer(iter(()), have, have, version)  # the file is complete
        raise ChangedFileError("the file has become shorter")
    if status == 429 or status >= 500:
        raise InterruptedTransferError(f"HTTP {status} {response.reason}".rstrip())
    raise TransferError(f"{shown(address)} answers HTTP {status} {response.reason}: check the address")


@contextmanager
def store(address: str, have: int, version: str | None) -> Iterator[Transfer]:
    """Opens a transfer from S3 or any other store that fsspec supports; errors as `http`.

    Credentials are those of the store's own tools (`AWS_PROFILE` and so on).
    """
    try:
        with translated_errors(address):
            system, path = opened(address)
            try:
                about = system.info(path)
            except FileNotFoundError:
                raise TransferError(f"{shown(address)} does not exist: check the address") from None
            if about["type"] != "file" or address.endswith("/"):
                raise TransferError(f"{shown(address)} does not name a file: it should read s3://BUCKET/KEY")
            size = int(about["size"])
            # The store's identifier of this version of the file; without one the transfer starts at byte 0.
            named = next((str(about[key]) for key in ("ETag", "etag", "mtime", "generation") if about.get(key)), None)
            start = have if named and named == version and have <= size else 0
            with system.open(path, "rb") as file:
                file.seek(start)
                yield Transfer(iter(lambda: file.read(_PIECE), b""), start, size, named)
    except RemoteError as error:
        if error.code in ("PreconditionFailed", "412"):
            raise ChangedFileError("the file changed meanwhile") from error
        if error.temporary:
            raise InterruptedTransferError("no connection, or it was cut") from error
        raise TransferError(str(error)) from None
