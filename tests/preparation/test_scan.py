import os

import pytest

from headstand import cores
from headstand.preparation import scan as module
from headstand.preparation.file_metadata import FileMetadata
from headstand.preparation.listing import Item, Listing
from headstand.preparation.scan import examine, forget, scan
from tests.preparation.photos import encoded, picture, signature


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "scan"


@pytest.fixture
def listing(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(6):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(encoded(picture(number)))
    (tmp_path / "photos" / "6.jpg").write_bytes(b"nothing")
    items = [Item("a", tmp_path / "photos" / f"{number}.jpg") for number in range(8)]
    return Listing(tmp_path / "photos", ("a",), tuple(items))


class Reader:
    """Counts what it reads."""

    def __init__(self):
        self.read = []
        self.__module__, self.__qualname__ = "tests", "Reader"

    def __call__(self, path):
        self.read.append(path.name)
        return examine(path)


def test_usable_files_are_described_and_others_have_a_reason(listing):
    found, left_out = scan(listing)
    assert [candidate.item for candidate in found] == list(listing.items[:6])
    first = found[0].file
    assert (first.extension, first.width, first.height) == (".jpg", 120, 96)
    assert first.signature == signature(listing.items[0].path.read_bytes())
    assert [(item.path.name, reason.split(" (")[0]) for item, reason in left_out] == [
        ("6.jpg", "the data is not an image of a known format"), ("7.jpg", "cannot be read"),
    ]  # fmt: skip


def test_a_second_scan_opens_nothing_and_gives_the_same_result(listing):
    reader = Reader()
    first = scan(listing, reader)
    assert sorted(reader.read) == [f"{number}.jpg" for number in range(7)]
    reader.read.clear()
    assert scan(listing, reader) == first
    assert reader.read == []


def test_changed_new_and_forgotten_files_are_read_again(listing):
    reader = Reader()
    scan(listing, reader)
    reader.read.clear()
    listing.items[2].path.write_bytes(encoded(picture(50)))
    os.utime(listing.items[3].path, ns=(1, 1))
    listing.items[7].path.write_bytes(encoded(picture(51)))
    forget(listing, listing.items[4], reader)
    found, _ = scan(listing, reader)
    assert sorted(reader.read) == ["2.jpg", "3.jpg", "4.jpg", "7.jpg"]
    assert found[2].file.signature == signature(encoded(picture(50)))


def test_cache_entries_of_another_reader_or_decoder_are_not_used(listing, monkeypatch):
    def other(path):
        return FileMetadata(".npy", "0" * 64, 48, 64, None)

    scan(listing)
    found, _ = scan(listing, other)
    assert {candidate.file for candidate in found} == {other(None)}
    assert scan(listing)[0][0].file.extension == ".jpg"
    assert scan(listing, other)[0] == found
    reader = Reader()
    scan(listing, reader)
    monkeypatch.setattr("headstand.preparation.scan_cache.VERSION", "next")
    reader.read.clear()
    scan(listing, reader)
    assert len(reader.read) == 7


def test_an_interrupted_scan_is_resumed(listing, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2)
    monkeypatch.setattr(cores, "available", lambda: 1)
    reader = Reader()

    def fail(path):
        if path.name == "4.jpg":
            raise KeyboardInterrupt
        return reader(path)

    fail.__module__, fail.__qualname__ = "tests", "Reader"
    with pytest.raises(KeyboardInterrupt):
        scan(listing, fail)
    assert reader.read[:4] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    reader.read.clear()
    found, _ = scan(listing, reader)
    assert not {"0.jpg", "1.jpg", "2.jpg", "3.jpg"} & set(reader.read)
    assert len(found) == 6


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\n[1]\nnull\n{}\n", b'["0.jpg", [1, 2]'])
def test_damaged_cache_entries_are_ignored(listing, cache, damage):
    first = scan(listing)
    (notes,) = cache.iterdir()
    lines = notes.read_bytes().splitlines(keepends=True)
    notes.write_bytes(damage + b"\n" + b"".join(lines[3:]))
    reader = Reader()
    assert scan(listing, reader) == first
    notes.write_bytes(damage)
    assert scan(listing) == first


def test_without_a_writable_cache_the_result_is_the_same(listing, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "file"))
    assert len(scan(listing)[0]) == 6


def test_names_that_are_not_utf8_are_cached(listing, tmp_path):
    path = tmp_path / "photos" / "\udcff.jpg"
    path.write_bytes(encoded(picture(60)))
    odd = Listing(listing.root, ("a",), (Item("a", path),))
    reader = Reader()
    assert scan(odd, reader) == scan(odd, reader)
    assert len(reader.read) == 1
