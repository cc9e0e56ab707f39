"""Upload of a prepared dataset to S3, with parallel transfers; files that are already there are skipped."""

import base64
import hashlib
import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstand import threads
from headstand.errors import HeadstandError
from headstand.preparation.manifest import Dataset
from headstand.storage import RemoteError
from headstand.storage.store import opened, translated_errors

THREADS = 16
"""Number of concurrent uploads; photos are small, so most of the time is spent waiting for responses."""


class UploadError(HeadstandError):
    """Raised if an upload fails: no s3fs, no credentials, no bucket, no network, or changed files."""


@dataclass(frozen=True)
class S3Location:
    """S3 location: a bucket and a key prefix without leading or trailing slash; an empty prefix is the whole bucket."""

    bucket: str
    prefix: str

    @classmethod
    def of(cls, address: str) -> "S3Location":
        """Parses an address `s3://BUCKET[/KEY]`.

        Raises:
            UploadError: the address has another form.
        """
        match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/[^\x00-\x1f\x7f]*)?", address)
        prefix = (match[2] or "").strip("/") if match else ""
        if not match or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
            raise UploadError(f"{address!r} is not an address in S3: it should read s3://BUCKET/KEY")
        return cls(match[1], prefix)

    def key(self, path: str) -> str:
        """Returns the S3 key of a file of the dataset."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def address(self, path: str = "") -> str:
        """Returns the `s3://` address of a file of the dataset, or of the dataset itself without `path`."""
        return f"s3://{self.bucket}/{self.key(path)}".rstrip("/")


@dataclass(frozen=True)
class Uploaded:
    """Result of an upload.

    Attributes:
        location: the target.
        sent: number of files sent.
        size: number of bytes sent.
        kept: number of files that were already there.
    """

    location: S3Location
    sent: int
    size: int
    kept: int

    def __str__(self) -> str:
        return (
            f"{self.location.address()}: {self.sent} files sent ({self.size:,} bytes), {self.kept} were there already"
        )


def upload(dataset: Dataset, location: S3Location, lists: Sequence[Path] = ()) -> Uploaded:
    """Uploads a dataset's photos, then other files of its folder and its manifest.

    The manifest is sent last, so if `manifest.csv` is in the bucket, all files that it lists are there too.

    A file is skipped if the bucket has it: the same key, size and MD5 (the ETag of plain uploads), or the same SHA-256
    if the ETag is not the MD5 (encryption with KMS). Calling this again therefore resumes an interrupted upload. S3
    verifies the SHA-256 that is sent with each file. Endpoint, region, profile and credentials are those of the AWS
    tools (`AWS_PROFILE`, `AWS_ENDPOINT_URL` and so on).

    Args:
        dataset: the prepared dataset.
        location: the target.
        lists: other files in the dataset's folder.

    Raises:
        UploadError: s3fs is not installed, credentials are missing or wrong, there is no such bucket or no network, or
            a photo differs from its row in the manifest.
    """
    try:
        with translated_errors(location.address()):
            bucket = _Bucket.of(location)
            photos = {photo.path: photo.sha256 for photo in dataset.photos}
            others = [*lists, dataset.folder / "manifest.csv"]
            sizes = bucket.send({dataset.folder / path: (path, digest) for path, digest in photos.items()})
            sizes += bucket.send({path: (path.relative_to(dataset.folder).as_posix(), None) for path in others})
    except RemoteError as error:
        raise UploadError(str(error)) from None
    sent = [size for size in sizes if size is not None]
    return Uploaded(location, len(sent), sum(sent), len(sizes) - len(sent))


@dataclass(frozen=True)
class _Bucket:
    """Connection to an S3 location.

    Attributes:
        system: file system of fsspec.
        location: the location.
        there: size in bytes and ETag by key of the objects under the prefix before the upload.
    """

    system: Any
    location: S3Location
    there: dict[str, tuple[int, str]]

    @classmethod
    def of(cls, location: S3Location) -> "_Bucket":
        """Connects to the bucket and lists the objects under the prefix."""
        system, path = opened(location.address())
        try:
            found = system.find(path, detail=True)
        except FileNotFoundError:  # empty prefix, or no such bucket: then sending the first file fails
            found = {}
        start = len(location.bucket) + 1
        return cls(
            system, location, {k[start:]: (int(v["size"] or 0), str(v["ETag"]).strip('"')) for k, v in found.items()}
        )

    def send(self, files: dict[Path, tuple[str, str | None]]) -> list[int | None]:
        """Uploads files in parallel.

        Args:
            files: path in the dataset and expected SHA-256 (None: not checked) by local path.

        Returns:
            Size in bytes of each file; None if it was already there.
        """
        return list(
            threads.parallel(lambda path: self._put(path, *files[path]), list(files), "uploading", "file", THREADS)
        )

    def _put(self, path: Path, name: str, expected: str | None) -> int | None:
        data = path.read_bytes()
        digest = hashlib.sha256(data)
        if expected and digest.hexdigest() != expected:
            raise UploadError(f"{path} is not the file that manifest.csv lists: delete it and prepare the data again")
        checksum = base64.b64encode(digest.digest()).decode()
        if self._has(self.location.key(name), data, checksum):
            return None
        self.system.pipe_file(
            f"{self.location.bucket}/{self.location.key(name)}",
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
        head = self.system.call_s3("head_object", Bucket=self.location.bucket, Key=key, ChecksumMode="ENABLED")
        return bool(head.get("ChecksumSHA256") == checksum)
