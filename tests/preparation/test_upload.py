import contextlib
import hashlib
import socket
import sys
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
import requests
import s3fs
from aiobotocore.client import AioBaseClient

from headstand.__main__ import main
from headstand.preparation import upload as module
from headstand.preparation.manifest import Dataset
from headstand.preparation.upload import S3Location, UploadError, upload
from tests.preparation.datasets import prepared

PLACE = S3Location("photos", "poses/v1")
SECRET = "wJalrXUtnFEMIsecret"


@pytest.fixture(autouse=True)
def account(s3_account, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bucket(account, s3_server):
    requests.post(f"{s3_server}/moto-api/reset", timeout=10).raise_for_status()
    with contextlib.closing(boto3.client("s3")) as client:
        client.create_bucket(Bucket="photos")
        yield client
    requests.post(f"{s3_server}/moto-api/reset", timeout=10).raise_for_status()


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return prepared(tmp_path / "data" / "poses", each=1)


def keys(client) -> set[str]:
    return {item["Key"] for item in client.list_objects_v2(Bucket="photos").get("Contents", [])}


def body(client, key: str) -> bytes:
    return client.get_object(Bucket="photos", Key=key)["Body"].read()


@pytest.fixture
def puts(monkeypatch) -> list[str]:
    """The keys that are put, in the order they are."""
    call, seen = AioBaseClient._make_api_call, []

    async def noted(self, operation, values):
        if operation == "PutObject":
            seen.append(values["Key"])
        return await call(self, operation, values)

    monkeypatch.setattr(AioBaseClient, "_make_api_call", noted)
    return seen


def test_sends_all_files_byte_for_byte_and_the_manifest_last(bucket, dataset, puts):
    listed = dataset.folder / "manifests" / "train.csv"
    listed.parent.mkdir()
    listed.write_text("path,label,index\n")
    done = upload(dataset, PLACE, [listed])
    names = [photo.path for photo in dataset.photos] + ["manifests/train.csv", "manifest.csv"]
    assert keys(bucket) == {f"poses/v1/{name}" for name in names}
    for name in names:
        assert body(bucket, f"poses/v1/{name}") == (dataset.folder / name).read_bytes()
    assert (done.sent, done.kept) == (8, 0)
    assert done.size == sum((dataset.folder / name).stat().st_size for name in names)
    assert set(puts[:6]) == {f"poses/v1/{photo.path}" for photo in dataset.photos}
    head = bucket.head_object(Bucket="photos", Key=f"poses/v1/{names[0]}", ChecksumMode="ENABLED")
    assert head["ContentType"] == "image/jpeg"
    assert head["ChecksumSHA256"]
    assert str(done) == f"s3://photos/poses/v1: 8 files sent ({done.size:,} bytes), 0 were there already"


def test_a_second_upload_sends_only_what_is_missing_or_other(bucket, dataset, puts):
    upload(dataset, PLACE)
    first, second, third = (f"poses/v1/{photo.path}" for photo in dataset.photos[:3])
    bucket.delete_object(Bucket="photos", Key=first)
    bucket.put_object(Bucket="photos", Key=second, Body=b"cut short")
    same_size = bytes((dataset.folder / dataset.photos[2].path).stat().st_size)
    bucket.put_object(Bucket="photos", Key=third, Body=same_size)
    puts.clear()
    done = upload(dataset, PLACE)
    assert set(puts) == {first, second, third}
    assert (done.sent, done.kept) == (3, 4)
    assert body(bucket, third) == (dataset.folder / dataset.photos[2].path).read_bytes()
    puts.clear()
    assert upload(dataset, PLACE).sent == 0
    assert puts == []


def test_an_etag_that_is_no_md5_is_settled_by_the_checksum(bucket, dataset, puts, monkeypatch):
    upload(dataset, PLACE)
    puts.clear()
    connect = module._Bucket.of

    def with_kms(location):  # where the ETag is not the MD5
        bucket = connect(location)
        return replace(bucket, there={key: (size, "0" * 32) for key, (size, _) in bucket.there.items()})

    monkeypatch.setattr(module._Bucket, "of", with_kms)
    assert upload(dataset, PLACE).kept == 7
    assert puts == []
    key = f"poses/v1/{dataset.photos[0].path}"
    size = (dataset.folder / dataset.photos[0].path).stat().st_size
    bucket.put_object(Bucket="photos", Key=key, Body=bytes(size), ChecksumAlgorithm="SHA256")
    puts.clear()
    assert upload(dataset, PLACE).sent == 1
    assert puts == [key]


def test_an_interrupted_upload_has_no_manifest_and_is_taken_up(bucket, dataset, monkeypatch):
    put, count = module._Bucket._put, []

    def broken(self, path, name, expected):
        count.append(name)
        if len(count) == 3:
            raise KeyboardInterrupt
        return put(self, path, name, expected)

    monkeypatch.setattr(module, "THREADS", 1)
    monkeypatch.setattr(module._Bucket, "_put", broken)
    with pytest.raises(KeyboardInterrupt):
        upload(dataset, PLACE)
    before = keys(bucket)
    assert 2 <= len(before) < 6
    assert "poses/v1/manifest.csv" not in before
    monkeypatch.setattr(module._Bucket, "_put", put)
    done = upload(dataset, PLACE)
    assert (done.sent, done.kept) == (7 - len(before), len(before))
    assert "poses/v1/manifest.csv" in keys(bucket)


def test_more_objects_than_a_page_lists_are_all_known(bucket, dataset, puts, monkeypatch):
    upload(dataset, PLACE)
    puts.clear()
    call, pages = AioBaseClient._make_api_call, []

    async def small(self, operation, values):
        if operation == "ListObjectsV2":
            pages.append(values)
            values = {**values, "MaxKeys": 3}
        return await call(self, operation, values)

    monkeypatch.setattr(AioBaseClient, "_make_api_call", small)
    assert upload(dataset, PLACE).kept == 7
    assert len(pages) == 3


def test_a_photo_that_is_not_the_manifests_is_not_sent(bucket, dataset):
    path = dataset.folder / dataset.photos[3].path
    path.write_bytes(b"edited")
    with pytest.raises(UploadError, match=r"tree0001\.jpg is not the file that manifest\.csv lists"):
        upload(dataset, PLACE)
    assert not keys(bucket) & {f"poses/v1/{dataset.photos[3].path}", "poses/v1/manifest.csv"}


def test_the_verb_uploads_with_its_manifests(bucket, dataset, capsys):
    Path("poses.toml").write_text('[source]\nkind = "folder"\nfolder = "photos"\n')
    main(["manifests", "poses.toml", "--upload", "s3://photos/there"])
    assert "s3://photos/there: 13 files sent" in capsys.readouterr().out
    lists = {f"there/manifests/{split}.{end}" for split in ("train", "validation", "test") for end in ("csv", "jsonl")}
    assert lists < keys(bucket)
    line = body(bucket, "there/manifests/train.jsonl").decode().splitlines()[0]
    assert '"source-ref": "s3://photos/there/train/cobra/cobra0001.jpg"' in line
    digest = hashlib.sha256(body(bucket, "there/train/cobra/cobra0001.jpg")).hexdigest()
    assert digest == dataset.photos[0].sha256
    main(["manifests", "poses.toml", "--upload", "s3://photos/there"])
    assert "0 files sent (0 bytes), 13 were there already" in capsys.readouterr().out


def test_a_missing_bucket_credentials_profile_or_package_is_named_with_its_remedy(account, dataset, monkeypatch):
    with pytest.raises(UploadError, match=r"s3://photos/poses/v1: there is no bucket 'photos': create it first"):
        upload(dataset, PLACE)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UploadError, match=r"s3://photos/poses/v1: AWS credentials are missing: set AWS_PROFILE"):
        upload(dataset, PLACE)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UploadError, match=r"configuration cannot be used: .*nobody"):
        upload(dataset, PLACE)
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere")
    with pytest.raises(UploadError, match="check AWS_ENDPOINT_URL"):
        upload(dataset, PLACE)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UploadError, match=r"needs packages that are not installed .*: pipenv sync"):
        upload(dataset, PLACE)


def test_an_unreachable_server_is_reported(dataset, monkeypatch):
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(UploadError, match=r"no connection, or it was cut .*it continues"):
            upload(dataset, PLACE)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDenied", "access is denied.*s3:PutObject"),
        ("ExpiredToken", r"AWS refuses the credentials \(ExpiredToken\): renew them"),
        ("PermanentRedirect", "lies in another region"),
        ("SlowDown", "the store answers SlowDown"),
    ],
)
def test_refusals_are_reported_without_what_was_signed(bucket, dataset, monkeypatch, code, message):
    from botocore.exceptions import ClientError

    call = AioBaseClient._make_api_call

    async def refuse(self, operation, values):
        if operation == "PutObject":
            raise ClientError({"Error": {"Code": code, "Message": f"signed with {SECRET}"}}, operation)
        return await call(self, operation, values)

    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(AioBaseClient, "_make_api_call", refuse)
    with pytest.raises(UploadError, match=message) as caught:
        upload(dataset, PLACE)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_reads_places():
    assert S3Location.of("s3://photos") == S3Location("photos", "")
    assert S3Location.of("s3://my.photos-1/a b/c/") == S3Location("my.photos-1", "a b/c")
    assert S3Location.of("s3://photos").address("train/x.jpg") == "s3://photos/train/x.jpg"
    assert S3Location.of("s3://photos/a/").address() == "s3://photos/a"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "photos",
        "s3:/photos",
        "s3://",
        "s3://Photos",
        "s3://p",
        "s3://photos/a//b",
        "s3://photos/../b",
        "s3://photos/a\n",
    ],
)
def test_refuses_what_is_no_place(address):
    with pytest.raises(UploadError, match="is not an address in S3"):
        S3Location.of(address)
