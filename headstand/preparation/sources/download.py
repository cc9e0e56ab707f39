"""Download of files by URL: fetched once, resumed after an interruption, and verified by digest.

The URLs come from the user's own recipe, so private hosts are allowed. URLs from clients of the web service are handled
in the package `serve` instead.
"""

import hashlib
import json
import re
import shutil
import time
from pathlib import Path

from tqdm import tqdm

from headstand import files, recipe
from headstand.preparation.sources import transfer
from headstand.preparation.sources.transfer import (
    ChangedFileError,
    InterruptedTransferError,
    TransferError,
)
from headstand.storage import is_remote, shown

__all__ = ["TransferError", "fetch"]

MAX_BYTES = 200 * 2**30
"""Maximum size of a download in bytes: more than ImageNet, less than a download of several days."""

TRIES = 5
"""Maximum number of successive attempts at a broken transfer; an attempt that received bytes restarts the count."""

PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""

_HEX = {"sha256": 64, "md5": 32}


def fetch(address: str, target: Path, *, digest: str | None = None) -> Path:
    """Downloads a file to `target`, unless it exists there, and verifies its digest.

    Args:
        address: a URL (`http://`, `https://`, `s3://BUCKET/KEY` or any other that fsspec supports), or a local path,
            resolved by `recipe.locate` with `HEADSTAND_DATA`.
        target: path of the downloaded file. An existing file is used if it has the given digest, or none is given.
        digest: expected digest of the whole file, `sha256:HEX` or `md5:HEX`.

    Returns:
        `target`; for a local path the resolved path: such a file is verified but not copied.

    Raises:
        TransferError: unreachable, refused, missing, too large, another digest, or not enough disk space. The bytes
            received after an interruption are kept beside `target`, so that the next call resumes the download.
        RecipeError: a local path does not exist.
    """
    kind, expected = _expected(digest)
    if not is_remote(address):
        path = recipe.locate(address, "HEADSTAND_DATA")
        if not path.is_file():
            raise TransferError(f"{path} is no file")
        if kind and (found := _digest(path, kind)) != expected:
            raise TransferError(f"{path} has the {kind} {found}, not {expected}: it is damaged or another version")
        return path
    try:
        with files.sole(target):
            if target.is_file() and (not kind or _digest(target, kind) == expected):
                return target
            part, note = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.part.json")
            resumed = _receive(address, part, note)
            if kind and (found := _digest(part, kind)) != expected:
                if resumed:  # the bytes kept earlier may be of another file
                    part.unlink()
                    _receive(address, part, note)
                    found = _digest(part, kind)
                if found != expected:
                    part.unlink()
                    note.unlink(missing_ok=True)
                    raise TransferError(
                        f"{shown(address)} has the {kind} {found}, not {expected}: it is damaged or another version"
                    )
            part.replace(target)
            note.unlink(missing_ok=True)
    except OSError as error:
        raise TransferError(
            f"cannot write {target}: {error.strerror or error}; HEADSTAND_CACHE can name another folder"
        ) from error
    return target


def _expected(digest: str | None) -> tuple[str, str]:
    kind, _, value = (digest or "").lower().partition(":")
    if digest and (kind not in _HEX or not re.fullmatch(f"[0-9a-f]{{{_HEX[kind]}}}", value)):
        raise TransferError(f"the digest {digest!r} is neither sha256:... nor md5:... in hexadecimal digits")
    return kind, value


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def _receive(address: str, part: Path, note: Path) -> bool:
    """Downloads `part` completely, with retries; returns whether it contains bytes of an earlier connection."""
    failures = 0
    while True:
        before = _size(part)
        try:
            return _once(address, part, note)
        except InterruptedTransferError as error:
            if isinstance(error, ChangedFileError):
                note.unlink(missing_ok=True)
            failures = 1 if _size(part) > before else failures + 1
            if failures >= TRIES:
                kept = _size(part) if note.is_file() else 0
                again = f"{kept:,} bytes are kept, run it again to go on" if kept else "check the network and try again"
                raise TransferError(f"the download of {shown(address)} broke ({error}): {again}") from error
            time.sleep(PAUSE * 2 ** (failures - 1))


def _once(address: str, part: Path, note: Path) -> bool:
    """Downloads into `part` over one connection; returns whether it was resumed from the bytes in `part`."""
    version = _noted(note, address)
    scheme = address.partition(":")[0].lower()
    opened = {"http": transfer.http, "https": transfer.http}.get(scheme, transfer.store)
    with opened(address, _size(part) if version else 0, version) as sent:
        if (sent.size or 0) > MAX_BYTES:
            raise TransferError(f"{shown(address)} has {sent.size:,} bytes; at most {MAX_BYTES:,} are fetched")
        room = shutil.disk_usage(part.parent).free
        if sent.size is not None and sent.size - sent.start > room:
            raise TransferError(
                f"{shown(address)} has {sent.size:,} bytes, and {part.parent} has room for {room:,}; "
                "HEADSTAND_CACHE can name another folder"
            )
        bar = tqdm(
            desc="downloading", total=sent.size, initial=sent.start, unit="B", unit_scale=True, leave=False,
            disable=None,
        )  # fmt: skip
        count = sent.start
        with bar, part.open("r+b" if sent.start else "wb") as file:
            file.seek(sent.start)
            # Only after the old bytes are discarded may the note state the new version.
            _write_note(note, address, sent.version)
            for piece in sent.stream:
                count += len(piece)
                if count > MAX_BYTES:
                    raise TransferError(f"{shown(address)} has more than {MAX_BYTES:,} bytes; no more are fetched")
                file.write(piece)
                bar.update(len(piece))
        if sent.size is not None and count != sent.size:
            raise InterruptedTransferError(f"{count:,} of {sent.size:,} bytes came")
        return sent.start > 0


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _write_note(note: Path, address: str, version: str | None) -> None:
    if version:
        # The URL is hashed, as its query can contain secrets.
        key = hashlib.sha256(address.encode()).hexdigest()
        note.write_text(json.dumps({"address": key, "version": version}), encoding="utf-8")
    else:
        note.unlink(missing_ok=True)


def _noted(note: Path, address: str) -> str | None:
    """Returns the version of the partly downloaded file, as noted by an earlier run for this URL; None if unknown."""
    try:
        said = json.loads(note.read_text(encoding="utf-8"))
        mine = said["address"] == hashlib.sha256(address.encode()).hexdigest()
        return str(said["version"]) if mine else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
