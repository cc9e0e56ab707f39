"""The file of a prepared photo."""

import hashlib
from pathlib import Path

from headstand.errors import HeadstandError
from headstand.prepare.manifest import Photo


class FeatureError(HeadstandError):
    """A prepared photo that is missing, damaged or not the one that was prepared."""


def digest(folder: Path, photo: Photo) -> bytes:
    """The SHA-256 of a prepared photo's bytes.

    Raises:
        FeatureError: it is missing, or not the file that was prepared.
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
