"""Downloads from a stand-in for S3, through the real s3fs."""

import contextlib
import hashlib
import random
import sys

import boto3
import pytest
import s3fs
from aiobotocore.client import AioBaseClient
from botocore.exceptions import ClientError, NoCredentialsError

from headstand.preparation.sources import download
from headstand.preparation.sources.download import TransferError, fetch

DATA = random.Random(2).randbytes(3_000_000)
ADDRESS = "s3://downloads/a b/photos.zip"
SHA = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture(autouse=True)
def account(s3_account, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)


@pytest.fixture
def bucket(account):
    with contextlib.closing(boto3.client("s3")) as client:
        client.create_bucket(Bucket="downloads")
        client.put_object(Bucket="downloads", Key="a b/photos.zip", Body=DATA)
        yield client


def test_fetches_and_resumes(bucket, tmp_path, monkeypatch):
    target = tmp_path / "photos.zip"
    assert fetch("s3://downloads/a b/photos.zip", target, digest=SHA).read_bytes() == DATA
    target.unlink()
    (tmp_path / ".photos.zip.part").write_bytes(DATA[:1_000_000])
    tag = bucket.head_object(Bucket="downloads", Key="a b/photos.zip")["ETag"]
    download._write_note(tmp_path / ".photos.zip.part.json", "s3://downloads/a b/photos.zip", tag)
    received, receive = [], download.transfer.store

    @contextlib.contextmanager
    def watched(*arguments):
        with receive(*arguments) as transfer:
            received.append(transfer.start)
            yield transfer

    monkeypatch.setattr(download.transfer, "store", watched)
    assert fetch("s3://downloads/a b/photos.zip", target, digest=SHA).read_bytes() == DATA
    assert received == [1_000_000]


def test_an_object_that_changed_is_fetched_from_its_start(bucket, tmp_path):
    target = tmp_path / "photos.zip"
    (tmp_path / ".photos.zip.part").write_bytes(b"?" * 1000)
    download._write_note(tmp_path / ".photos.zip.part.json", ADDRESS, '"old"')
    assert fetch(ADDRESS, target).read_bytes() == DATA


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://downloads/gone.zip", r"s3://downloads/gone\.zip does not exist: check the address"),
        ("s3://no-such-bucket/photos.zip", "does not exist: check the address|there is no bucket"),
        ("s3://B_/photos.zip", "is not an address|does not exist|there is no bucket|the store answers"),
        ("s3://", "is not an address of a folder, such as s3://BUCKET/KEY"),
        ("s3://downloads", "does not name a file: it should read s3://BUCKET/KEY"),
        ("s3://downloads/", "does not name a file: it should read s3://BUCKET/KEY"),
        ("s3://downloads/a b/", "does not name a file: it should read s3://BUCKET/KEY"),
    ],
)
def test_an_address_without_a_file_is_refused(bucket, tmp_path, address, message):
    with pytest.raises(TransferError, match=message):
        fetch(address, tmp_path / "photos.zip")


def failing(monkeypatch, errors):
    """The next requests to S3 fail with these errors."""
    call = AioBaseClient._make_api_call

    async def answer(self, operation, values):
        if errors:
            raise errors.pop(0)
        return await call(self, operation, values)

    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(AioBaseClient, "_make_api_call", answer)


def refusal(code, status):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "HeadObject")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (refusal("403", 403), "access is denied: check the address and your credentials"),
        (refusal("ExpiredToken", 400), r"AWS refuses the credentials \(ExpiredToken\): renew them"),
        (refusal("400", 400), "the store answers 400"),
        (NoCredentialsError(), "AWS credentials are missing: set AWS_PROFILE or run `aws configure`"),
    ],
)
def test_a_refusal_is_reported_and_not_repeated(bucket, tmp_path, monkeypatch, error, message):
    errors = [error]
    failing(monkeypatch, errors)
    with pytest.raises(TransferError, match=rf"^s3://downloads/a b/photos\.zip: {message}"):
        fetch(ADDRESS, tmp_path / "photos.zip")


def test_a_request_is_repeated_after_a_server_error(bucket, tmp_path, monkeypatch):
    failing(monkeypatch, [refusal("SlowDown", 503), refusal("PreconditionFailed", 412), refusal("503", 503)])
    assert fetch(ADDRESS, tmp_path / "photos.zip").read_bytes() == DATA


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(TransferError, match=r"photos\.zip needs packages that are not installed .*: pipenv sync"):
        fetch(ADDRESS, tmp_path / "photos.zip")
    assert not (tmp_path / "photos.zip").exists()


def test_no_connection_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(s3fs.S3FileSystem, "default_config_kwargs", {}, raising=False)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(download, "TRIES", 2)
    with pytest.raises(TransferError, match=r"broke \(no connection, or it was cut\): check the network"):
        fetch(ADDRESS, tmp_path / "photos.zip")
