"""What sources fetched, unpacked or cropped, kept between runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


def root() -> Path:
    """The folder of all caches: `HEADSTAND_CACHE`, else `.cache/headstand` here."""
    return Path(os.environ.get("HEADSTAND_CACHE") or ".cache/headstand").expanduser()


@contextmanager
def sole(target: Path) -> Iterator[None]:
    """Have `target` to oneself: a second process that wants to make it waits here, and then finds it made.

    The lock ends with the process, however that ends; its empty file `.NAME.lock` stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        yield
