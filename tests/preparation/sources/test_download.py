import errno
import hashlib
import json
import random
import shutil
from collections import namedtuple

import pytest

from headstand import files
from headstand.preparation.sources import download
from headstand.preparation.sources.download import TransferError, fetch
from headstand.preparation.sources.transfer import shown
from headstand.recipe import RecipeError
from tests.preparation.web import site

DATA = random.Random(1).randbytes(300_000)
SHA = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
MD5 = f"md5:{hashlib.md5(DATA).hexdigest()}"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)


@pytest.fixture
def server():
    with site(DATA) as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "photos.zip"


def visible(target):
    return sorted(path.name for path in target.parent.iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize("digest", [None, SHA, MD5, SHA.upper().replace("SHA256", "sha256")])
def test_fetches_once(server, target, digest):
    for _ in range(2):
        assert fetch(server.address, target, digest=digest) == target
        assert target.read_bytes() == DATA
    assert len(server.requests) == 1
    assert server.requests[0]["accept-encoding"] == "identity"
    assert visible(target) == ["photos.zip"]


def test_a_file_with_another_digest_is_downloaded_again(server, target):
    target.parent.mkdir()
    target.write_bytes(b"old")
    assert fetch(server.address, target).read_bytes() == b"old"
    assert fetch(server.address, target, digest=SHA).read_bytes() == DATA


def test_a_broken_transfer_is_resumed(server, target):
    server.cuts = [100_000, 50_000]
    assert fetch(server.address, target, digest=SHA).read_bytes() == DATA
    assert [(request.get("range"), request.get("if-range")) for request in server.requests] == [
        (None, None), ("bytes=100000-", '"1"'), ("bytes=150000-", '"1"'),
    ]  # fmt: skip


def test_an_interrupted_call_is_resumed_by_the_next(server, target):
    server.cuts = [200_000]

    def breaks(_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download.time, "sleep", breaks)
        with pytest.raises(KeyboardInterrupt):
            fetch(server.address, target)
    assert not target.exists()
    assert visible(target) == [".photos.zip.part", ".photos.zip.part.json"]
    fetch(server.address, target)
    assert target.read_bytes() == DATA
    assert server.requests[-1]["range"] == "bytes=200000-"
    assert visible(target) == ["photos.zip"]


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(server, target):
    server.cuts = [200_000]

    def change(_):
        server.data, server.tag = DATA[::-1], '"2"'

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download.time, "sleep", change)
        assert fetch(server.address, target).read_bytes() == DATA[::-1]
    assert server.requests[-1]["if-range"] == '"1"'


def test_two_versions_are_not_joined_if_the_server_ignores_if_range(server, target):
    server.cuts, server.supports_if_range = [200_000], False

    def change(_):
        server.data, server.tag = DATA[::-1], '"2"'

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download.time, "sleep", change)
        assert fetch(server.address, target).read_bytes() == DATA[::-1]
    assert [request.get("range") for request in server.requests] == [None, "bytes=200000-", None]


@pytest.mark.parametrize(("tag", "date"), [(None, None), ('W/"1"', None)])
def test_without_a_version_the_download_starts_again(server, target, tag, date):
    server.tag, server.date, server.cuts = tag, date, [200_000]
    assert fetch(server.address, target).read_bytes() == DATA
    assert [request.get("range") for request in server.requests] == [None, None]


def test_a_date_identifies_a_version_too(server, target):
    server.tag, server.date, server.cuts = None, "Mon, 01 Jan 2024 00:00:00 GMT", [200_000]
    assert fetch(server.address, target).read_bytes() == DATA
    assert server.requests[1]["if-range"] == server.date


def test_a_server_without_ranges_sends_all_again(server, target):
    server.ranges, server.cuts = False, [200_000]
    assert fetch(server.address, target).read_bytes() == DATA


def write_part(target, data, address, version='"1"'):
    """What a killed run leaves."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_name(f".{target.name}.part").write_bytes(data)
    note = {"address": hashlib.sha256(address.encode()).hexdigest(), "version": version}
    target.with_name(f".{target.name}.part.json").write_text(json.dumps(note))


def test_a_complete_partial_file_needs_no_more_bytes(server, target):
    write_part(target, DATA, server.address)
    assert fetch(server.address, target, digest=SHA).read_bytes() == DATA
    assert [request["range"] for request in server.requests] == [f"bytes={len(DATA)}-"]


def test_a_part_longer_than_the_file_is_dropped(server, target):
    write_part(target, DATA + b"more", server.address)
    assert fetch(server.address, target).read_bytes() == DATA


def test_a_part_with_wrong_bytes_is_found_by_its_digest(server, target):
    write_part(target, b"?" * 1000, server.address)
    assert fetch(server.address, target, digest=SHA).read_bytes() == DATA
    assert len(server.requests) == 2


def test_a_part_of_another_address_is_not_used(server, target):
    write_part(target, b"?" * 1000, server.address + "2")
    assert fetch(server.address, target).read_bytes() == DATA


def test_a_wrong_digest_is_reported_and_leaves_nothing(server, target):
    digest = "md5:" + "0" * 32
    with pytest.raises(TransferError, match=rf"photos\.zip has the md5 {MD5[4:]}, not {'0' * 32}: it is damaged"):
        fetch(server.address, target, digest=digest)
    assert visible(target) == []


def test_after_several_attempts_the_failure_is_reported_and_the_partial_file_kept(server, target):
    server.cuts = [1000] + [0] * 10
    with pytest.raises(TransferError, match=r"broke \(.*\): 1,000 bytes are kept, run it again to go on"):
        fetch(server.address, target)
    assert len(server.requests) == 1 + download.TRIES - 1
    server.cuts = []
    assert fetch(server.address, target).read_bytes() == DATA
    assert server.requests[-1]["range"] == "bytes=1000-"


def test_a_short_answer_without_a_stated_length_is_taken_as_it_is(server, target):
    server.length = False
    assert fetch(server.address, target).read_bytes() == DATA


def test_a_request_is_repeated_after_a_server_error(server, target):
    server.statuses = [503, 429]
    assert fetch(server.address, target).read_bytes() == DATA
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_reported_without_another_attempt(server, target, status):
    server.statuses = [status]
    with pytest.raises(TransferError, match=rf"photos\.zip answers HTTP {status} .*: check the address"):
        fetch(server.address, target)
    assert (len(server.requests), visible(target)) == (1, [])


def test_redirects_are_followed_up_to_a_limit(server, target):
    server.statuses, server.location = [302], "/other"
    assert fetch(server.address, target).read_bytes() == DATA
    target.unlink()
    server.statuses = [302] * 50
    with pytest.raises(TransferError, match="leads from one address to the next without end"):
        fetch(server.address, target)


def test_a_failed_connection_is_reported_without_secrets(target):
    address = "http://me:secret@127.0.0.1:1/photos.zip?token=secret#secret"
    with pytest.raises(TransferError, match=r"http://127\.0\.0\.1:1/photos\.zip broke") as raised:
        fetch(address, target)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("address", ["http://", "http://[::1", "https://a b/c", "http://a:b/"])
def test_an_invalid_address_is_reported(target, address):
    with pytest.raises(TransferError, match=r"is not an address|broke"):
        fetch(address, target)


def test_secrets_are_not_shown():
    assert shown("https://me:pass@host:8/a/b.zip?X-Amz-Signature=1#x") == "https://host:8/a/b.zip"
    assert shown("s3://bucket/a@b.zip") == "s3://bucket/a@b.zip"
    assert shown("photos/a?b.zip") == "photos/a?b.zip"


@pytest.mark.parametrize("length", [True, False])
def test_the_size_limit_is_enforced_with_and_without_a_stated_length(server, target, monkeypatch, length):
    server.length = length
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    with pytest.raises(TransferError, match=r"at most 1,000 are fetched|more than 1,000 bytes"):
        fetch(server.address, target)
    assert not target.exists()


def test_too_little_disk_space_is_reported_before_the_download(server, target, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(TransferError, match=r"has 300,000 bytes, and .* has room for 1,000; HEADSTAND_CACHE"):
        fetch(server.address, target)
    assert visible(target) == []


def test_a_folder_that_cannot_be_written_is_reported(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TransferError, match=r"cannot write .*HEADSTAND_CACHE"):
        fetch(server.address, tmp_path / "file" / "photos.zip")


def test_a_local_file_is_checked_but_not_copied(tmp_path, target, monkeypatch):
    (tmp_path / "photos.zip").write_bytes(DATA)
    monkeypatch.setenv("HEADSTAND_DATA", str(tmp_path))
    assert fetch("photos.zip", target, digest=MD5) == tmp_path / "photos.zip"
    assert not target.parent.exists()
    (tmp_path / "photos.zip").write_bytes(DATA[:-1])
    with pytest.raises(TransferError, match=r"photos\.zip has the sha256 .*: it is damaged or another version"):
        fetch("photos.zip", target, digest=SHA)
    with pytest.raises(RecipeError, match="there is no nowhere"):
        fetch("nowhere", target)
    with pytest.raises(TransferError, match="is no file"):
        fetch(str(tmp_path), target)


@pytest.mark.parametrize("digest", ["abc", "sha1:" + "0" * 40, "md5:" + "0" * 31, "sha256:" + "g" * 64])
def test_an_invalid_digest_is_reported(server, target, digest):
    with pytest.raises(TransferError, match=r"is neither sha256:\.\.\. nor md5:"):
        fetch(server.address, target, digest=digest)
    assert server.requests == []


def test_two_processes_wait_for_each_other(target):
    import fcntl

    with files.sole(target):
        with (target.parent / ".photos.zip.lock").open("a") as file, pytest.raises(OSError) as raised:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert raised.value.errno in (errno.EAGAIN, errno.EACCES)
