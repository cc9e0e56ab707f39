"""A prepared dataset's way into S3: many files at once, those that are there already left alone."""

import base64
import hashlib
import mimetypes
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from headstand.errors import HeadstandError
from headstand.prepare.manifest import Dataset

THREADS = 16
"""Files on their way at once: photos are small, so that most of the time is spent waiting for answers."""


class UploadError(HeadstandError):
    """An upload that cannot be done: no boto3, no credentials, no bucket, no network, or files that have changed."""


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
        UploadError: boto3 is not installed, no or wrong credentials, no such bucket, no network, or a photo that is not
            the one in the manifest.
    """
    with _told(place):
        client = _client()
        bucket = _Bucket(client, place, _there(client, place))
        photos = {photo.path: photo.sha256 for photo in dataset.photos}
        others = [*lists, dataset.folder / "manifest.csv"]
        sizes = bucket.send({dataset.folder / path: (path, digest) for path, digest in photos.items()})
        sizes += bucket.send({path: (path.relative_to(dataset.folder).as_posix(), None) for path in others})
    sent = [size for size in sizes if size is not None]
    return Uploaded(place, len(sent), sum(sent), len(sizes) - len(sent))


@dataclass(frozen=True)
class _Bucket:
    """The bucket, and the size and ETag of what lay under the prefix when the upload began."""

    client: Any
    place: Place
    there: dict[str, tuple[int, str]]

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
        self.client.put_object(
            Bucket=self.place.bucket,
            Key=self.place.key(name),
            Body=data,
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
        head = self.client.head_object(Bucket=self.place.bucket, Key=key, ChecksumMode="ENABLED")
        return bool(head.get("ChecksumSHA256") == checksum)


def _client() -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise UploadError(
            'uploading needs the package boto3: `pipenv sync --categories "packages aws"` or `pip install boto3`'
        ) from None
    options = Config(max_pool_connections=THREADS, retries={"mode": "standard", "total_max_attempts": 5})
    return boto3.Session().client("s3", config=options)


def _there(client: Any, place: Place) -> dict[str, tuple[int, str]]:
    """Size and ETag of all objects under the prefix, by key."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=place.key(""))
    objects = (object_ for page in pages for object_ in page.get("Contents", []))
    return {object_["Key"]: (object_["Size"], object_["ETag"].strip('"')) for object_ in objects}


@contextmanager
def _told(place: Place) -> Iterator[None]:
    """Tell boto3's errors in one sentence; their own texts can hold what was signed, so only the code is quoted."""
    try:
        yield
    except Exception as error:
        sentence = _sentence(error, place)
        if sentence is None:
            raise
        raise UploadError(sentence) from None


def _sentence(error: Exception, place: Place) -> str | None:
    """What to tell of an error of boto3; None for other errors."""
    try:
        from botocore import exceptions as boto
    except ImportError:
        return None
    where = place.address()
    if isinstance(error, boto.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ("NoSuchBucket", "404"):
            return f"there is no bucket {place.bucket!r}: make it first (`aws s3 mb s3://{place.bucket}`)"
        if code in (
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "InvalidToken",
            "TokenRefreshRequired",
        ):
            return (
                f"AWS does not take the credentials for {where} ({code}): renew them, or choose others by AWS_PROFILE"
            )
        if code in ("AccessDenied", "403", "AllAccessDisabled"):
            return (
                f"AWS refuses {where} to these credentials ({code}): they need s3:ListBucket on the bucket, "
                "s3:GetObject and s3:PutObject on its objects"
            )
        if code in ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"):
            return f"the bucket {place.bucket!r} lies in another region ({code}): set AWS_REGION to it"
        return f"S3 answers {code or 'with an error'} for {where}: try again, what was sent stays there"
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return f"there are no AWS credentials for {where}: run `aws configure`, or set AWS_PROFILE"
    if isinstance(error, boto.CredentialRetrievalError | boto.TokenRetrievalError | boto.SSOError):
        return f"AWS credentials for {where} cannot be had ({type(error).__name__}): log in again (`aws sso login`)"
    if isinstance(error, boto.ProfileNotFound | boto.ConfigParseError | boto.ConfigNotFound):
        return f"the AWS configuration cannot be used for {where}: {str(error).splitlines()[0]}"
    if isinstance(error, boto.BotoCoreError):
        return f"S3 cannot be reached for {where} ({type(error).__name__}): the same command goes on where it stopped"
    if isinstance(error, ValueError) and "endpoint" in str(error).lower():
        return f"the endpoint for {where} is no address: check AWS_ENDPOINT_URL"
    return None
