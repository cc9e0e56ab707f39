"""Synchronizes a local folder with a folder in a remote store."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from headstand import files
from headstand.storage.store import RemoteError, is_remote, opened, shown, translated_errors

_AT_ONCE = 256
"""Files per request to fsspec, which transfers them concurrently."""

_OBJECTS = {"s3", "gs", "gcs", "abfs", "az", "oci"}
"""Schemes of object stores, which have no folders."""

INTERVAL = 30.0
"""Seconds between two uploads of changed files during a run: the most work that a lost machine loses."""


class Mirror:
    """Local copy of a folder in a remote store. Files are compared by name and size.

    The argument `wanted` of its methods selects files by their path relative to the folder.
    """

    def __init__(self, address: str, folder: Path) -> None:
        """Opens the store without transferring anything.

        Args:
            address: of the remote folder, `s3://BUCKET/KEY` or any that fsspec supports.
            folder: the local folder, created when files are fetched.

        Raises:
            RemoteError: the address is not valid, or packages are missing.
        """
        self.address, self.folder = address.rstrip("/"), folder
        with translated_errors(address):
            self._system, self._path = opened(address)
        self._sent: dict[str, tuple[int, int]] = {}

    def below(self, name: str) -> "Mirror":
        """Returns the mirror of a subfolder."""
        return Mirror(f"{self.address}/{name}", self.folder / name)

    def listed(self) -> dict[str, int]:
        """Returns the sizes of all remote files by relative path; empty if the folder does not exist."""
        with translated_errors(self.address):
            self._system.invalidate_cache()
            try:
                found = self._system.find(self._path, detail=True)
            except FileNotFoundError:
                return {}
        start = len(self._path) + 1
        # Some stores represent folders as empty files whose names end in a slash.
        return {path[start:]: int(info["size"] or 0) for path, info in found.items() if not path.endswith("/")}

    def is_folder(self) -> bool:
        """Returns whether the remote folder exists."""
        with translated_errors(self.address):
            return bool(self._system.isdir(self._path))

    def pull(self, wanted: Callable[[str], bool] = lambda name: True) -> int:
        """Fetches files that are missing here or differ in size, and returns their number.

        Names that lead out of the folder are skipped.
        """
        inside = self.folder.resolve()
        missing = []
        for name, size in sorted(self.listed().items()):
            path = self.folder / name
            if not wanted(name) or not path.resolve().is_relative_to(inside):
                continue
            if path.is_file() and path.stat().st_size == size:
                self._sent[name] = files.state(path)
            else:
                missing.append(name)
        for start in range(0, len(missing), _AT_ONCE):
            batch = missing[start : start + _AT_ONCE]
            with ExitStack() as stack:
                parts = [stack.enter_context(files.replacing(self.folder / name)) for name in batch]
                with translated_errors(self.address):
                    self._system.get([f"{self._path}/{name}" for name in batch], [str(part) for part in parts])
            for name in batch:
                self._sent[name] = files.state(self.folder / name)
        return len(missing)

    def drop(self) -> None:
        """Deletes local files that do not exist in the remote folder."""
        remote = self.listed()
        for path in self.folder.rglob("*"):
            if path.is_file() and path.relative_to(self.folder).as_posix() not in remote:
                path.unlink()

    def push(self, wanted: Callable[[str], bool] = lambda name: True, last: str = "") -> int:
        """Uploads files that have changed since the last transfer, and returns their number.

        Args:
            wanted: selects files. Hidden files (locks and incomplete files) and `.part` files are never uploaded.
            last: name of the file to upload last, because it marks the others as complete.
        """
        changed = []
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if any(part.startswith(".") for part in name.split("/")) or name.endswith(".part") or not wanted(name):
                continue
            try:
                state = files.state(path)
            except FileNotFoundError:  # renamed since it was listed
                continue
            if path.is_file() and self._sent.get(name) != state:
                changed.append((name, state))
        changed.sort(key=lambda item: Path(item[0]).name == last)
        for name, state in changed:
            with translated_errors(self.address):
                self._make_parent(name)
                try:
                    self._system.put_file(str(self.folder / name), f"{self._path}/{name}")
                except FileNotFoundError:
                    if (self.folder / name).exists():
                        raise
                    continue
            self._sent[name] = state
        return len(changed)

    def write(self, name: str, data: bytes) -> None:
        """Writes a remote file; atomically if the store supports this, as S3 does."""
        with translated_errors(self.address):
            self._make_parent(name)
            self._system.pipe_file(f"{self._path}/{name}", data)

    def _make_parent(self, name: str) -> None:
        """Creates the parent folder of a file, except in object stores, where this would create a bucket."""
        protocols = self._system.protocol
        if not _OBJECTS.intersection((protocols,) if isinstance(protocols, str) else protocols):
            self._system.makedirs(f"{self._path}/{name}".rpartition("/")[0], exist_ok=True)

    @contextmanager
    def uploading(self, last: str) -> Iterator[None]:
        """Uploads changed files every `INTERVAL` seconds while the block runs, and once more at its end.

        A failed transfer is reported on standard error when it happens, and again whenever its reason changes; it is
        retried after each interval.

        Args:
            last: see `push`.

        Raises:
            RemoteError: the last upload fails too. The message names the local folder with the files. If the block
                itself failed, this is a warning instead.
        """
        finished = threading.Event()
        failure = ""  # the last reported reason; empty while transfers succeed

        def repeat() -> None:
            nonlocal failure
            while not finished.wait(INTERVAL):
                reason = self._failure(last)
                if reason and reason != failure:
                    _report(f"WARNING: {reason}. Nothing is stored there until this is solved; the upload is retried")
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
            finished.set()
            thread.join()
            if reason := self._failure(last):
                message = f"{reason}. The files are complete in {self.folder}: copy them from there"
                if succeeded:
                    raise RemoteError(message)
                _report(f"WARNING: {message}")  # the block's own exception is raised

    def _failure(self, last: str) -> str:
        """Uploads once and returns the error message; empty on success."""
        try:
            self.push(last=last)
        except Exception as error:
            return str(error) or type(error).__name__
        return ""


def _report(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def cached(folder: Path) -> Mirror | None:
    """Returns the mirror of a cache folder below the address in `HEADSTAND_CACHE`; None if that is not an address.

    Raises:
        RemoteError: see `Mirror`.
    """
    location = os.environ.get("HEADSTAND_CACHE") or ""
    if not is_remote(location):
        return None
    return Mirror(f"{location.rstrip('/')}/{folder.relative_to(files.cache()).as_posix()}", folder)
