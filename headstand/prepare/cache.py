"""What sources fetched, unpacked or cropped, kept between runs."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from headstand.remote import Mirror, is_remote

_HERE = ".cache/headstand"


def root() -> Path:
    """The folder of all caches: `HEADSTAND_CACHE`, else `.cache/headstand` here.

    Where that is an address, it is a folder here which stands for it: of what is in it, `mirror` shares some.
    """
    place = os.environ.get("HEADSTAND_CACHE") or _HERE
    if is_remote(place):
        return Path(_HERE) / hashlib.sha256(place.rstrip("/").encode()).hexdigest()[:16]
    return Path(place).expanduser()


def mirror(folder: Path) -> Mirror | None:
    """A folder below `root` as it lies at the address in `HEADSTAND_CACHE`; None where that is no address.

    Raises:
        RemoteError: as `Mirror`.
    """
    place = os.environ.get("HEADSTAND_CACHE") or _HERE
    if not is_remote(place):
        return None
    return Mirror(f"{place.rstrip('/')}/{folder.relative_to(root()).as_posix()}", folder)


@contextmanager
def sole(target: Path) -> Iterator[None]:
    """Have `target` to oneself: a second process that wants to make it waits here, and then finds it made.

    The lock ends with the process, however that ends; its empty file `.NAME.lock` stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        yield
