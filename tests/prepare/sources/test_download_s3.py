"""Downloads from a stand-in for S3, through the real boto3."""

import contextlib
import hashlib
import random

import pytest

from headstand.prepare.sources import download
from headstand.prepare.sources.download import DownloadError, fetch

boto3 = pytest.importorskip("boto3")

DATA = random.Random(2).randbytes(3_000_000)
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
    received, receive = [], download.transfer.s3

    @contextlib.contextmanager
    def watched(*arguments):
        with receive(*arguments) as transfer:
            received.append(transfer.start)
            yield transfer

    monkeypatch.setattr(download.transfer, "s3", watched)
    assert fetch("s3://downloads/a b/photos.zip", target, digest=SHA).read_bytes() == DATA
    assert received == [1_000_000]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://downloads/gone.zip", r"s3://downloads/gone\.zip does not exist: check the address and your AWS"),
        ("s3://no-such-bucket/photos.zip", "does not exist: check the address"),
        ("s3://B_/photos.zip", "is not an address that can be asked|does not exist|HTTP 400"),
    ],
)
def test_what_is_not_there_is_told(bucket, tmp_path, address, message):
    with pytest.raises(DownloadError, match=message):
        fetch(address, tmp_path / "photos.zip")


def test_without_credentials_it_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers credentials
    with pytest.raises(DownloadError, match="needs AWS credentials: set AWS_PROFILE or run `aws configure`"):
        fetch("s3://downloads/photos.zip", tmp_path / "photos.zip")


def test_no_connection_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(download, "TRIES", 2)
    with pytest.raises(DownloadError, match="broke \\(no connection, or it was cut\\): check the network"):
        fetch("s3://downloads/photos.zip", tmp_path / "photos.zip")
