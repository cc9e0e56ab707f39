import hashlib
import threading
from pathlib import Path

import pytest

from headstand import files, storage


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_in_one_step(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    assert files.write(path, "ä\n") == path
    assert path.read_bytes() == "ä\n".encode()
    with files.replacing(path) as part:
        part.write_bytes(b"new")
        assert (part.parent, part.name[0], part.suffix) == (path.parent, ".", ".part")
        assert path.read_bytes() == "ä\n".encode()
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path, error):
    path = files.write(tmp_path / "a", b"old")
    with pytest.raises(type(error)), files.replacing(path) as part:
        part.write_bytes(b"half")
        raise error
    assert (names(tmp_path), path.read_bytes()) == (["a"], b"old")


def test_the_temporary_file_can_be_in_another_folder(tmp_path):
    path = tmp_path / "photos" / "a.png"
    with files.replacing(path, tmp_path) as part:
        part.write_bytes(b"x")
        assert names(path.parent) == []
    assert (names(path.parent), names(tmp_path)) == (["a.png"], ["photos"])


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    for name in ("a" * 255, "ü" * 127, "写" * 85):
        assert files.write(tmp_path / name, b"x").read_bytes() == b"x"
    assert len(names(tmp_path)) == 3


def test_threads_can_write_the_same_file_concurrently(tmp_path):
    path, both = tmp_path / "a", threading.Barrier(2)
    failures = []

    def write(data: bytes) -> None:
        try:
            with files.replacing(path) as part:
                part.write_bytes(data)
                both.wait(10)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(data,)) for data in (b"1", b"2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert path.read_bytes() in (b"1", b"2")
    assert names(tmp_path) == ["a"]


def test_a_folder_is_complete_or_absent(tmp_path):
    target = tmp_path / "deep" / "folder"
    with pytest.raises(ValueError, match="half"), files.building(target) as part:
        (part / "a").write_bytes(b"x")
        raise ValueError("half")
    assert names(target.parent) == []
    (target.parent / ".folder.part").mkdir()
    (target.parent / ".folder.part" / "left by a killed process").touch()
    with files.building(target) as part:
        (part / "a").write_bytes(b"x")
        assert not target.exists()
    assert (names(target.parent), names(target)) == (["folder"], ["a"])
    with pytest.raises(OSError), files.building(target) as part:
        pass
    assert names(target) == ["a"]


def test_digest_is_the_sha256_of_the_file(tmp_path):
    assert files.digest(files.write(tmp_path / "a", b"abc")) == hashlib.sha256(b"abc").hexdigest()


def test_a_lock_is_held_by_one_thread_at_a_time(tmp_path):
    target, inside, created = tmp_path / "cache" / "created", threading.Event(), []

    def make(number: int) -> None:
        with files.sole(target):
            if not created:
                inside.set()
                created.append(number)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside.is_set() and len(created) == 1
    assert names(target.parent) == [".created.lock"]


def test_the_cache_directory_follows_the_environment_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("HEADSTAND_CACHE", raising=False)
    assert files.cache() == Path(".cache/headstand")
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path))
    assert files.cache() == tmp_path
    assert storage.cached(tmp_path / "features") is None
    monkeypatch.setenv("HEADSTAND_CACHE", "memory://bucket/cache/")
    assert files.cache().parent == Path(".cache/headstand")
    mirror = storage.cached(files.cache() / "features")
    assert mirror is not None and mirror.address == "memory://bucket/cache/features"
