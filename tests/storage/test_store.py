import sys
from pathlib import Path
from typing import Any

import pytest

from headstand.storage import Mirror, RemoteError, is_remote, shown
from headstand.storage.store import opened


@pytest.mark.parametrize("location", ["s3://bucket/key", "gs://b", "S3://x", "file:///tmp", "abfs://c@a/x"])
def test_addresses(location: str) -> None:
    assert is_remote(location)


@pytest.mark.parametrize("location", ["photos", "/photos", r"C:\photos", "c://x", "photos/a:b", "", "~/x"])
def test_paths(location: str) -> None:
    assert not is_remote(location)
    assert shown(location) == location


def test_printable_address_has_no_secret() -> None:
    assert shown("s3://KEY:SECRET@bucket/a/b?token=x#y") == "s3://bucket/a/b"
    assert shown("ftp://me:word@host") == "ftp://host"


@pytest.mark.parametrize("address", ["s3://KEY:SECRET@bucket/a", "s3://bucket/a?SECRET=1", "ftp://SECRET@host/a"])
def test_address_with_a_secret_is_refused_without_printing_it(address: str) -> None:
    with pytest.raises(RemoteError, match="AWS_PROFILE") as excinfo:
        opened(address)
    assert "SECRET" not in str(excinfo.value)


def test_invalid_address_and_unknown_scheme(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="'s3://' is not an address of a folder, such as s3://BUCKET/KEY"):
        opened("s3://")
    with pytest.raises(RemoteError, match="no store is known by the scheme of nowhere://bucket/a"):
        opened("nowhere://bucket/a")


def test_packages_that_are_missing_are_named_with_their_category(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(RemoteError, match=r"s3://bucket/a needs packages.*pipenv sync --categories \"packages aws\""):
        opened("s3://bucket/a")


def test_error_messages_have_no_secrets(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    with pytest.raises(RemoteError, match="s3://no-such-bucket/a: there is no bucket 'no-such-bucket'"):
        Mirror("s3://no-such-bucket/a", tmp_path).write("x", b"1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    with pytest.raises(RemoteError, match="s3://photos/a: no connection, or it was cut"):
        Mirror("s3://photos/a", tmp_path).listed()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(RemoteError, match="s3://photos/a: AWS credentials are missing: set AWS_PROFILE"):
        Mirror("s3://photos/a", tmp_path).listed()
    assert "secret" not in caplog.text
