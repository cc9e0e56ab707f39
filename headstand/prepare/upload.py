"""A prepared dataset's way into S3: many files at once, those that are there already left alone."""

import base64
import hashlib
import mimetypes
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from headstand.errors import HeadstandError
from headstand.prepare.manifest import Dataset
from headstand.remote import RemoteError
from headstand.remote.store import opened, told

THREADS = 16
"""Files on their way at once: photos are small, so that most of the time is spent waiting for answers."""


class UploadError(HeadstandError):
    """An upload that cannot be done: no s3fs, no credentials, no bucket, no network, or files that have changed."""


@dataclass(frozen=True)
class Place:
    """A bucket and the start of all keys in it, without slashes at either end; empty for the whole bucket."""

    bucket: str
    prefix: str

    @classmethod
    def of(cls, address: str) -> "Place":
        """Read `s3://BUCKET[/KEY]`.

        Raises:
            UploadError: it is something else.
        """
        match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/[^\x00-\x1f\x7f]*)?", address)
        prefix = (match[2] or "").strip("/") if match else ""
        if not match or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
            raise UploadError(f"{address!r} is not a place in S3: it should read s3://BUCKET/KEY")
        return cls(match[1], prefix)

    def key(self, path: str) -> str:
        """The key of a file of the dataset."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def address(self, path: str = "") -> str:
        """The address of a file of the dataset, or of the dataset."""
        return f"s3://{self.bucket}/{self.key(path)}".rstrip("/")


@dataclass(frozen=True)
class Uploaded:
    """What an upload did: files and bytes sent, and files that were there already."""

    place: Place
    sent: int
    size: int
    kept: int

    def __str__(self) -> str:
        return f"{self.place.address()}: {self.sent} files sent ({self.size:,} bytes), {self.kept} were there already"


def upload(dataset: Dataset, place: Place, lists: Sequence[Path] = ()) -> Uploaded:
    """Send a dataset's photos, then other files of its folder and its manifest.

    Whoever finds `manifest.csv` there finds all that it names.

    A file is left alone where the bucket has it: the same key, size and MD5 (the ETag of plain uploads), or the same
    SHA-256 where the ETag is not the MD5 (encryption with KMS). An interrupted upload is therefore taken up by the same
    call. S3 checks what arrives against the SHA-256 that goes with it. Endpoint, region, profile and credentials are
    those of the AWS tools (`AWS_PROFILE`, `AWS_ENDPOINT_URL` and so on).

    Raises:
        UploadError: s3fs is not installed, no or wrong credentials, no such bucket, no network, or a photo that is not
            the one in the manifest.
    """
    try:
        with told(place.address()):
            bucket = _Bucket.of(place)
            photos = {photo.path: photo.sha256 for photo in dataset.photos}
            others = [*lists, dataset.folder / "manifest.csv"]
            sizes = bucket.send({dataset.folder / path: (path, digest) for path, digest in photos.items()})
            sizes += bucket.send({path: (path.relative_to(dataset.folder).as_posix(), None) for path in others})
    except RemoteError as error:
        raise UploadError(str(error)) from None
    sent = [size for size in sizes if size is not None]
    return Uploaded(place, len(sent), sum(sent), len(sizes) - len(sent))


@dataclass(frozen=True)
class _Bucket:
    """fsspec's file system, and size and ETag by key of what lay under the prefix before the upload."""

    system: Any
    place: Place
    there: dict[str, tuple[int, str]]

    @classmethod
    def of(cls, place: Place) -> "_Bucket":
        """Connect, and list what is there."""
        system, path = opened(place.address())
        try:
            found = system.find(path, detail=True)
        except FileNotFoundError:  # nothing is there; whether the bucket is shows when the first file is sent
            found = {}
        start = len(place.bucket) + 1
        return cls(
            system, place, {k[start:]: (int(v["size"] or 0), str(v["ETag"]).strip('"')) for k, v in found.items()}
        )

    def send(self, files: dict[Path, tuple[str, str | None]]) -> list[int | None]:
        """Send files to their `(path in the dataset, SHA-256 or None)`; the bytes of each, None where it was there."""
        pool = ThreadPoolExecutor(THREADS)
        try:
            done = pool.map(lambda path: self._put(path, *files[path]), files)
            return list(tqdm(done, "uploading", len(files), unit="file", leave=False, disable=not sys.stderr.isatty()))
        finally:
            pool.shutdown(cancel_futures=True)  # after a failure or Ctrl-C the others are not begun

    def _put(self, path: Path, name: str, expected: str | None) -> int | None:
        data = path.read_bytes()
        digest = hashlib.sha256(data)
        if expected and digest.hexdigest() != expected:
            raise UploadError(
                f"{path} is not the file that manifest.csv lists: delete it and run `python data_preparation.py` again"
            )
        checksum = base64.b64encode(digest.digest()).decode()
        if self._has(self.place.key(name), data, checksum):
            return None
        self.system.pipe_file(
            f"{self.place.bucket}/{self.place.key(name)}",
            data,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=checksum,
            ContentType=mimetypes.guess_type(name)[0] or "application/octet-stream",
        )
        return len(data)

    def _has(self, key: str, data: bytes, checksum: str) -> bool:
        size, tag = self.there.get(key, (-1, ""))
        if size != len(data):
            return False
        if tag == hashlib.md5(data, usedforsecurity=False).hexdigest():
            return True
        head = self.system.call_s3("head_object", Bucket=self.place.bucket, Key=key, ChecksumMode="ENABLED")
        return bool(head.get("ChecksumSHA256") == checksum)
