"""Opens remote stores by address, and converts their errors to messages without secrets."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headstand.errors import HeadstandError
from headstand.storage import aws_errors

CATEGORY = 'pipenv sync --categories "packages aws"'

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)


class RemoteError(HeadstandError):
    """A store cannot be reached or refuses a request.

    Attributes:
        temporary: whether a later attempt may succeed, because the network or the server failed.
        code: AWS's error code; empty if there is none.
    """

    def __init__(self, message: str, temporary: bool = False, code: str = "") -> None:
        super().__init__(message)
        self.temporary, self.code = temporary, code


def is_remote(location: str) -> bool:
    """Returns whether `location` is an address, `SCHEME://...`, rather than a path."""
    return _ADDRESS.fullmatch(location) is not None


def shown(address: str) -> str:
    """Returns an address in printable form: without user name, password and query, which can be secrets."""
    match = _ADDRESS.fullmatch(address)
    if not match:
        return address
    host, slash, path = re.split(r"[?#]", match["rest"], maxsplit=1)[0].partition("/")
    return f"{match['scheme']}://{host.rpartition('@')[2]}{slash}{path}"


def opened(address: str) -> tuple[Any, str]:
    """Returns fsspec's file system for an address and the path in it, without a trailing slash.

    Raises:
        RemoteError: the packages for it are not installed, or the address has no path or contains credentials.
    """
    match = _ADDRESS.fullmatch(address)
    if not match or not match["rest"].strip("/"):
        raise RemoteError(f"{shown(address)!r} is not an address of a folder, such as s3://BUCKET/KEY")
    if "@" in match["rest"].partition("/")[0] or re.search(r"[?#]", match["rest"]):
        # The address is stored in the run's recipe, which must not contain secrets.
        raise RemoteError(
            f"the address {shown(address)} holds a user, a password or a query: leave them out and set "
            "AWS_PROFILE, or the credentials that the store's own tools read"
        )
    try:
        import fsspec

        # A cached instance would keep old listings and credentials.
        system, path = fsspec.core.url_to_fs(address.rstrip("/"), skip_instance_cache=True, use_listings_cache=False)
    except ImportError as error:
        raise RemoteError(f"{shown(address)} needs packages that are not installed ({error}): {CATEGORY}") from None
    except ValueError as error:
        raise RemoteError(f"no store is known by the scheme of {shown(address)} ({error})") from None
    return system, str(path).rstrip("/")


@contextmanager
def translated_errors(address: str) -> Iterator[None]:
    """Converts exceptions of a store's client in the block to one message without secrets.

    Args:
        address: for the message.

    Raises:
        RemoteError: in place of the client's errors. Errors of local files pass unchanged.
    """
    try:
        yield
    except (HeadstandError, KeyboardInterrupt):
        raise
    except Exception as error:
        sentence = _sentence(error, address)
        if sentence is None:
            raise
        raise RemoteError(f"{shown(address)}: {sentence}", _temporary(error), aws_errors.code(error)) from None


def _temporary(error: Exception) -> bool:
    """Returns whether a later attempt may succeed."""
    if aws_errors.credentials(error):
        return False
    return aws_errors.disconnected(error) or (type(error) is OSError and not aws_errors.code(error))


def _sentence(error: Exception, address: str) -> str | None:
    """Returns the error message; None for errors that are not the store's."""
    if isinstance(error, OSError) and (error.filename or error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return None  # a file or disk of this machine
    if reason := aws_errors.credentials(error):
        return reason
    code = aws_errors.code(error)
    bucket = shown(address).partition("://")[2].partition("/")[0]
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}: create it first (`aws s3 mb s3://{bucket}`), or correct the address"
    if code in ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"):
        return f"the bucket {bucket!r} lies in another region ({code}): set AWS_REGION to it"
    if isinstance(error, PermissionError) or code in ("AccessDenied", "403", "AllAccessDisabled"):
        return (
            "access is denied: check the address and your credentials; they need s3:ListBucket on the bucket, "
            "s3:GetObject and s3:PutObject on its objects"
        )
    if isinstance(error, FileNotFoundError) or code in ("NoSuchKey", "404"):
        return "does not exist: check the address"
    if code:
        return f"the store answers {code}: run the command again, it continues where it stopped"
    if isinstance(error, OSError) or _temporary(error):
        return f"no connection, or it was cut ({type(error).__name__}): run the command again, it continues"
    if type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore"):
        return f"is not an address of an object: {str(error).splitlines()[-1]}"
    return None
