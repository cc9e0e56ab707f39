"""Digest of a prepared photo's file, checked against the manifest."""

import hashlib
from pathlib import Path

from headstand.errors import HeadstandError
from headstand.prepare.manifest import Photo


class FeatureError(HeadstandError):
    """Features cannot be computed, as when a prepared photo is missing, damaged or changed since preparation."""


def digest(folder: Path, photo: Photo) -> bytes:
    """Returns the SHA-256 of a prepared photo's bytes.

    Raises:
        FeatureError: the file is missing, or its bytes are not those of the manifest.
    """
    remedy = f"run `python data_preparation.py {folder.name}` again"
    try:
        found = hashlib.sha256((folder / photo.path).read_bytes())
    except OSError as error:
        raise FeatureError(
            f"cannot read the prepared photo {folder / photo.path} ({error.strerror}): {remedy}"
        ) from error
    if found.hexdigest() != photo.sha256:
        raise FeatureError(f"{folder / photo.path} is not the file that was prepared: {remedy}")
    return found.digest()
