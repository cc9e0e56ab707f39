"""A folder here and its like in a store: what is missing on one side is fetched or sent."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from headstand import files
from headstand.remote.store import RemoteError, is_remote, opened, shown, told

_AT_ONCE = 256
"""Files in one request to fsspec, which transfers them side by side."""

_OBJECTS = {"s3", "gs", "gcs", "abfs", "az", "oci"}
"""Schemes of stores without folders."""

INTERVAL = 30.0
"""Seconds between two looks at what has changed here, while a run is kept up: what a lost machine loses at most."""


class Mirror:
    """A local folder that stands for one in a store. Files are told apart by name and size.

    Args of all methods named `wanted` say, by the path below the folder, which files are meant.
    """

    def __init__(self, address: str, folder: Path) -> None:
        """Open the store; nothing is transferred yet.

        Args:
            address: of the folder there, `s3://BUCKET/KEY` or any that fsspec knows.
            folder: the local one, made when something comes.

        Raises:
            RemoteError: no address, or packages that are missing.
        """
        self.address, self.folder = address.rstrip("/"), folder
        with told(address):
            self._system, self._path = opened(address)
        self._sent: dict[str, tuple[int, int]] = {}

    def below(self, name: str) -> "Mirror":
        """The mirror of a folder in it."""
        return Mirror(f"{self.address}/{name}", self.folder / name)

    def listed(self) -> dict[str, int]:
        """Size by path of all files there; empty where there is no such folder."""
        with told(self.address):
            self._system.invalidate_cache()
            try:
                found = self._system.find(self._path, detail=True)
            except FileNotFoundError:
                return {}
        start = len(self._path) + 1
        # Some stores keep folders as empty files whose names end in a slash.
        return {path[start:]: int(info["size"] or 0) for path, info in found.items() if not path.endswith("/")}

    def is_folder(self) -> bool:
        """Whether the address names a folder that is there."""
        with told(self.address):
            return bool(self._system.isdir(self._path))

    def pull(self, wanted: Callable[[str], bool] = lambda name: True) -> int:
        """Fetch what is not here, or of another size; how many files came. Names that lead out are passed over."""
        inside = self.folder.resolve()
        missing = []
        for name, size in sorted(self.listed().items()):
            here = self.folder / name
            if not wanted(name) or not here.resolve().is_relative_to(inside):
                continue
            if here.is_file() and here.stat().st_size == size:
                self._sent[name] = _state(here)
            else:
                missing.append(name)
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            with ExitStack() as stack:
                parts = [stack.enter_context(files.replacing(self.folder / name)) for name in some]
                with told(self.address):
                    self._system.get([f"{self._path}/{name}" for name in some], [str(part) for part in parts])
            for name in some:
                self._sent[name] = _state(self.folder / name)
        return len(missing)

    def drop(self) -> None:
        """Remove here what is not there."""
        there = self.listed()
        for path in self.folder.rglob("*"):
            if path.is_file() and path.relative_to(self.folder).as_posix() not in there:
                path.unlink()

    def push(self, wanted: Callable[[str], bool] = lambda name: True, last: str = "") -> int:
        """Send what has changed here since it was sent or fetched; how many files went.

        Args:
            wanted: which. Hidden files (locks, and what is yet being written) stay here.
            last: the name of the file that says that the others are whole.
        """
        changed = []
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if any(part.startswith(".") for part in name.split("/")) or name.endswith(".part") or not wanted(name):
                continue
            try:
                state = _state(path)
            except FileNotFoundError:  # renamed meanwhile
                continue
            if path.is_file() and self._sent.get(name) != state:
                changed.append((name, state))
        changed.sort(key=lambda item: Path(item[0]).name == last)
        for name, state in changed:
            with told(self.address):
                self._make_room(name)
                try:
                    self._system.put_file(str(self.folder / name), f"{self._path}/{name}")
                except FileNotFoundError:
                    if (self.folder / name).exists():
                        raise
                    continue
            self._sent[name] = state
        return len(changed)

    def write(self, name: str, data: bytes) -> None:
        """Put a file there, whole or not at all where the store does so, as S3 does."""
        with told(self.address):
            self._make_room(name)
            self._system.pipe_file(f"{self._path}/{name}", data)

    def _make_room(self, name: str) -> None:
        """Make the folder of a file, where stores have such: of an object store it would make a new bucket."""
        protocols = self._system.protocol
        if not _OBJECTS.intersection((protocols,) if isinstance(protocols, str) else protocols):
            self._system.makedirs(f"{self._path}/{name}".rpartition("/")[0], exist_ok=True)

    @contextmanager
    def kept_up(self, last: str) -> Iterator[None]:
        """Send changed files every `INTERVAL` seconds while the block runs, and once more at its end.

        A failed transfer is reported on standard error when it happens, and again whenever its reason changes; it is
        retried after each interval.

        Args:
            last: as for `push`.

        Raises:
            RemoteError: at the end, if the files cannot be sent then either. It names the local folder that holds them.
                If the block itself failed, this is a warning.
        """
        done = threading.Event()
        failure = ""  # the reason that was reported last; empty while transfers succeed

        def repeat() -> None:
            nonlocal failure
            while not done.wait(INTERVAL):
                reason = self._failure(last)
                if reason and reason != failure:
                    _report(f"WARNING: {reason}. Nothing is stored there until this is solved; retrying all the time")
                elif failure and not reason:
                    _report(f"{shown(self.address)} can be written again: all files so far are stored")
                failure = reason

        thread = threading.Thread(target=repeat, daemon=True, name="mirror")
        thread.start()
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            done.set()
            thread.join()
            if reason := self._failure(last):
                message = f"{reason}. The files are complete in {self.folder}: copy them from there"
                if succeeded:
                    raise RemoteError(message)
                _report(f"WARNING: {message}")  # the exception of the block is the one to raise

    def _failure(self, last: str) -> str:
        """Push once; the reason if that fails, otherwise an empty text."""
        try:
            self.push(last=last)
        except Exception as error:
            return str(error) or type(error).__name__
        return ""


def _report(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def cached(folder: Path) -> Mirror | None:
    """A folder of the cache as it lies at the address in `HEADSTAND_CACHE`; None where that is no address.

    Raises:
        RemoteError: as `Mirror`.
    """
    location = os.environ.get("HEADSTAND_CACHE") or ""
    if not is_remote(location):
        return None
    return Mirror(f"{location.rstrip('/')}/{folder.relative_to(files.cache()).as_posix()}", folder)


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
