"""A store by its address, and its failures in a sentence that holds no secret."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headstand.errors import HeadstandError

CATEGORY = 'pipenv sync --categories "packages aws"'

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://(?P<rest>.*)", re.IGNORECASE | re.DOTALL)


class RemoteError(HeadstandError):
    """A store that cannot be reached, or refuses what is asked of it."""


def is_remote(location: str) -> bool:
    """Whether `location` is an address, `SCHEME://...`, rather than a path."""
    return _ADDRESS.fullmatch(location) is not None


def shown(address: str) -> str:
    """An address as it may be printed: without the user name, password and query, which can be secrets."""
    match = _ADDRESS.fullmatch(address)
    if not match:
        return address
    host, slash, path = re.split(r"[?#]", match["rest"], maxsplit=1)[0].partition("/")
    return f"{match['scheme']}://{host.rpartition('@')[2]}{slash}{path}"


def opened(address: str) -> tuple[Any, str]:
    """The file system of an address (fsspec's) and the path in it, without a slash at its end.

    Raises:
        RemoteError: the packages for it are not installed, or it names no place or a password.
    """
    match = _ADDRESS.fullmatch(address)
    if not match or not match["rest"].strip("/"):
        raise RemoteError(f"{shown(address)!r} is not an address of a folder, such as s3://BUCKET/KEY")
    if "@" in match["rest"].partition("/")[0] or re.search(r"[?#]", match["rest"]):
        # It would be written into the run's recipe, and who knows where.
        raise RemoteError(
            f"the address {shown(address)} holds a user, a password or a query: leave them out; AWS_PROFILE, or what "
            "the store's own tools read, says who you are"
        )
    try:
        import fsspec

        # Not one that somebody opened before: it would remember listings of then, and credentials.
        system, path = fsspec.core.url_to_fs(address.rstrip("/"), skip_instance_cache=True, use_listings_cache=False)
    except ImportError as error:
        raise RemoteError(f"{shown(address)} needs packages that are not installed ({error}): {CATEGORY}") from None
    except ValueError as error:
        raise RemoteError(f"no store is known by the scheme of {shown(address)} ({error})") from None
    return system, str(path).rstrip("/")


@contextmanager
def told(address: str) -> Iterator[None]:
    """Tell what goes wrong inside in one sentence; the errors' own texts can hold what was signed.

    Raises:
        RemoteError: in place of what the store's client raises; errors of this machine's disk pass.
    """
    try:
        yield
    except (HeadstandError, KeyboardInterrupt):
        raise
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        raise RemoteError(f"{shown(address)} {sentence}") from None


def _sentence(error: Exception) -> str | None:
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "CredentialRetrievalError"}:
        return "needs AWS credentials: set AWS_PROFILE or run `aws configure`"
    if isinstance(error, FileNotFoundError) and not error.filename:
        return "does not exist: check the address"
    if isinstance(error, PermissionError) and not error.filename:
        return "is refused to you: check the address and your credentials"
    if isinstance(error, OSError) and error.filename:  # a file of ours
        return None
    if isinstance(error, OSError) or names & {"BotoCoreError", "ClientError", "ClientPayloadError", "HTTPClientError"}:
        return f"cannot be reached, or broke off ({type(error).__name__}): the same command goes on where it stopped"
    return None
