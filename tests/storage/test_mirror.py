import threading
from pathlib import Path
from typing import Any

import pytest

from headstand.storage import Mirror, RemoteError, mirror
from tests.storage.conftest import keys


def put(client: Any, name: str, data: bytes) -> None:
    client.put_object(Bucket="photos", Key=name, Body=data)


def test_pull_fetches_missing_files_only(bucket: Any, tmp_path: Path) -> None:
    for name, data in {"a/one": b"1", "a/deep/two": b"22", "a/skip": b"3", "ab/other": b"4", "a/": b""}.items():
        put(bucket, name, data)
    mirrored = Mirror("s3://photos/a/", tmp_path / "here")
    assert mirrored.listed() == {"one": 1, "deep/two": 2, "skip": 1}
    assert mirrored.pull(lambda name: name != "skip") == 2
    assert (tmp_path / "here/deep/two").read_bytes() == b"22"
    assert sorted(path.name for path in (tmp_path / "here").rglob("*") if path.is_file()) == ["one", "two"]
    assert mirrored.pull(lambda name: name != "skip") == 0
    put(bucket, "a/one", b"longer")
    assert mirrored.pull() == 2
    assert (tmp_path / "here/one").read_bytes() == b"longer"
    bucket.delete_object(Bucket="photos", Key="a/skip")
    mirrored.drop()
    assert not (tmp_path / "here/skip").exists()
    assert Mirror("s3://photos/nothing", tmp_path / "nothing").pull() == 0


def test_push_uploads_changed_files_and_the_last_one_last(bucket: Any, tmp_path: Path) -> None:
    mirrored = Mirror("s3://photos/runs/one", tmp_path)
    for name in ("a_report", "z", "deep/y", ".lock", "half.part", ".saving-1/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    sent: list[str] = []
    real = mirrored._system.put_file
    mirrored._system.put_file = lambda local, remote: (sent.append(remote), real(local, remote))
    assert mirrored.push(last="a_report") == 3
    assert sent == ["photos/runs/one/deep/y", "photos/runs/one/z", "photos/runs/one/a_report"]
    assert keys(bucket) == ["runs/one/a_report", "runs/one/deep/y", "runs/one/z"]
    assert mirrored.push() == 0
    (tmp_path / "z").write_text("more")
    assert mirrored.push() == 1
    assert bucket.get_object(Bucket="photos", Key="runs/one/z")["Body"].read() == b"more"
    # What came from there need not go back.
    other = Mirror("s3://photos/runs/one", tmp_path / "again")
    assert other.pull() == 3
    assert other.push() == 0


def test_folders_are_created_in_stores_that_have_them(tmp_path: Path) -> None:
    (tmp_path / "here/deep").mkdir(parents=True)
    (tmp_path / "here/deep/x").write_text("1")
    mirrored = Mirror((tmp_path / "there/far").as_uri(), tmp_path / "here")
    assert mirrored.push() == 1
    mirrored.write("new/y", b"2")
    assert mirrored.listed() == {"deep/x": 1, "new/y": 1}


def test_names_outside_the_folder_are_skipped(bucket: Any, tmp_path: Path) -> None:
    put(bucket, "a/../../escaped", b"1")
    put(bucket, "a/fine", b"2")
    assert Mirror("s3://photos/a", tmp_path / "deep/here").pull() == 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["fine"]


def test_changed_files_are_uploaded_while_the_block_runs(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "INTERVAL", 0.01)
    mirrored = Mirror("s3://photos/run", tmp_path)
    with pytest.raises(KeyError), mirrored.uploading("report.json"):
        (tmp_path / "journal").write_text("1")
        while "run/journal" not in keys(bucket):
            pass
        (tmp_path / "more").write_text("2")
        raise KeyError
    assert keys(bucket) == ["run/journal", "run/more"]
    bucket.delete_object(Bucket="photos", Key="run/journal")
    bucket.delete_object(Bucket="photos", Key="run/more")
    bucket.delete_bucket(Bucket="photos")
    with (
        pytest.raises(RemoteError, match=f"^s3://photos/run: .* complete in {tmp_path}"),
        mirrored.uploading("report.json"),
    ):
        (tmp_path / "late").write_text("3")


def test_a_failed_transfer_is_reported_at_once_and_retried_until_it_succeeds(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mirror, "INTERVAL", 0.001)
    mirrored = Mirror("s3://photos/run", tmp_path)
    attempts: list[str] = []
    three, recovered, push = threading.Event(), threading.Event(), mirrored.push

    def failing(last: str) -> int:
        attempts.append(last)
        if len(attempts) > 3:
            three.set()
        if not recovered.is_set():
            raise RemoteError("s3://photos/run needs new credentials" if attempts[1:] else "s3://photos/run is slow")
        return push(last=last)

    monkeypatch.setattr(mirrored, "push", failing)
    with mirrored.uploading("report.json"):
        (tmp_path / "checkpoint").write_text("1")
        assert three.wait(60)
        recovered.set()
    assert keys(bucket) == ["run/checkpoint"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(". ")[0] for line in lines[:2]] == [
        "WARNING: s3://photos/run is slow",
        "WARNING: s3://photos/run needs new credentials",
    ]
    assert [line for line in lines[2:] if "can be written again" not in line] == []


def test_error_of_the_block_is_raised_instead_of_the_upload_error(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mirrored = Mirror("s3://photos/run", tmp_path)

    def refused(last: str) -> int:
        raise OSError("no room")

    monkeypatch.setattr(mirrored, "push", refused)
    with pytest.raises(KeyError, match="the work failed"), mirrored.uploading("report.json"):
        raise KeyError("the work failed")
    assert capsys.readouterr().err == f"WARNING: no room. The files are complete in {tmp_path}: copy them from there\n"
