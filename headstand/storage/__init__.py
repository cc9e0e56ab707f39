"""Folders in remote stores: S3 and every store that fsspec supports. fsspec is imported only when one is used."""

from headstand.storage.mirror import Mirror, cached
from headstand.storage.store import RemoteError, is_remote, shown

__all__ = ["Mirror", "RemoteError", "cached", "is_remote", "shown"]
