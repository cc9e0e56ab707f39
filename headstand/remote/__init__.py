"""Folders that lie elsewhere: S3 and every store that fsspec knows. Nothing imports fsspec before one is named."""

from headstand.remote.mirror import Mirror, cached
from headstand.remote.store import RemoteError, is_remote, shown

__all__ = ["Mirror", "RemoteError", "cached", "is_remote", "shown"]
