import hashlib
import io
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.preparation.sources import archive
from headstand.preparation.sources.archive import ArchiveError, extract, unpacked
from headstand.preparation.sources.download import TransferError
from headstand.recipe import RecipeError
from tests.preparation.web import site

FILES = {"photos/tree/a.jpg": b"a" * 3000, "photos/tree/empty.jpg": b"", "photos/cobra/b.jpg": bytes(range(256)) * 40}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def zipped(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return path


def tarred(path, files, mode="w"):
    with tarfile.open(path, mode) as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def files_in(folder):
    """What lies in the cache, but for the locks' empty files."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


MAKERS = {
    "photos.zip": lambda path: zipped(path, FILES, compression=zipfile.ZIP_DEFLATED),
    "stored.zip": lambda path: zipped(path, FILES),
    "photos.tar": lambda path: tarred(path, FILES),
    "photos.tar.gz": lambda path: tarred(path, FILES, "w:gz"),
    "photos.tar.bz2": lambda path: tarred(path, FILES, "w:bz2"),
    "photos.tar.xz": lambda path: tarred(path, FILES, "w:xz"),
    "named-as-nothing": lambda path: tarred(path, FILES, "w:gz"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_kind_unpacks_to_the_same_files(tmp_path, cache, name):
    path = MAKERS[name](tmp_path / name)
    before = path.read_bytes()
    folder = unpacked(str(path))
    assert content(folder) == FILES
    assert folder.parent == cache / "archives"
    assert path.read_bytes() == before
    assert all(not p.is_symlink() and not stat.S_IMODE(p.stat().st_mode) & 0o111 for p in files_in(folder))


def test_old_tars_without_a_magic_number_are_recognised(tmp_path):
    path = tmp_path / "old.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as out:
        info = tarfile.TarInfo("a/b.jpg")
        info.size = 3
        out.addfile(info, io.BytesIO(b"abc"))
    head = bytearray(path.read_bytes()[:512])
    head[257:265] = bytes(8)
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    path.write_bytes(bytes(head) + path.read_bytes()[512:])
    assert content(unpacked(str(path))) == {"a/b.jpg": b"abc"}


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    inner = zipped(tmp_path / "inner.zip", {"x": b"x"}).read_bytes()
    path = tarred(tmp_path / "outer.tar", {"inner.zip": inner})
    assert content(unpacked(str(path))) == {"inner.zip": inner}


def test_a_folder_is_returned_as_it_is(tmp_path, cache, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("HEADSTAND_DATA", str(tmp_path))
    assert unpacked("photos") == tmp_path / "photos"
    assert not cache.exists()
    with pytest.raises(RecipeError, match="there is no nowhere"):
        unpacked("nowhere")


def test_a_second_call_does_nothing_and_the_content_is_the_key(tmp_path, cache, monkeypatch):
    path = MAKERS["photos.zip"](tmp_path / "photos.zip")
    first = unpacked(str(path))
    monkeypatch.setattr(archive, "extract", lambda *_: pytest.fail("unpacked again"))
    assert unpacked(str(path)) == first
    (tmp_path / "elsewhere").mkdir()
    assert unpacked(str(path.rename(tmp_path / "elsewhere" / "photos.zip"))) == first


def test_other_content_under_the_same_name_is_unpacked_again(tmp_path, cache):
    path = MAKERS["photos.zip"](tmp_path / "photos.zip")
    first = unpacked(str(path))
    zipped(path, {"new/c.jpg": b"c"})
    second = unpacked(str(path))
    assert first != second
    assert content(second) == {"new/c.jpg": b"c"}


def test_an_address_is_downloaded_once_and_the_archive_deleted(tmp_path, cache):
    data = MAKERS["photos.zip"](tmp_path / "photos.zip").read_bytes()
    with site(data) as server:
        folder = unpacked(server.address + "?token=secret", digest=f"md5:{hashlib.md5(data).hexdigest()}")
        assert content(folder) == FILES
        assert len(server.requests) == 1
    digest = f"md5:{hashlib.md5(data).hexdigest()}"
    assert unpacked(server.address + "?token=secret", digest=digest) == folder
    assert "secret" not in str(folder)
    assert files_in(cache) == files_in(folder)


def test_an_address_without_a_file_name_works(tmp_path):
    data = MAKERS["photos.zip"](tmp_path / "photos.zip").read_bytes()
    with site(data) as server:
        for path in ("/", "", "/download", "/%2e%2e/.."):
            assert content(unpacked(server.address.rpartition("/files")[0] + path)) == FILES


def test_a_damaged_download_is_repeated_by_the_next_call(tmp_path, cache):
    data = MAKERS["photos.tar.gz"](tmp_path / "photos.tgz").read_bytes()
    with site(data[:200]) as server:
        with pytest.raises(ArchiveError, match="is damaged or cut short"):
            unpacked(server.address)
        assert files_in(cache) == []
        server.data = b"<!doctype html><title>Sign in</title>"
        with pytest.raises(ArchiveError, match="is a web page, not an archive"):
            unpacked(server.address)
        server.data = data
        assert content(unpacked(server.address)) == FILES


def test_a_wrong_digest_unpacks_nothing(tmp_path, cache):
    path = MAKERS["photos.zip"](tmp_path / "photos.zip")
    with pytest.raises(TransferError, match=r"photos\.zip has the md5"):
        unpacked(str(path), digest="md5:" + "0" * 32)
    assert not cache.exists()


ESCAPES = [
    "../evil.jpg",
    "a/../../evil.jpg",
    "/evil.jpg",
    "a/..",
    "..\\evil.jpg",
    "C:\\evil.jpg",
    "c:evil.jpg",
    "\\evil",
]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_outside_the_folder_are_refused(tmp_path, cache, name, kind):
    maker = zipped if kind == "zip" else tarred
    path = maker(tmp_path / f"bad.{kind}", {"ok/a.jpg": b"a", name: b"evil"})
    with pytest.raises(ArchiveError, match=r"bad\..* holds .*, which leads out of its folder: do not trust it"):
        unpacked(str(path))
    assert files_in(cache) == []
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_tars_are_refused(tmp_path, cache, kind):
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w") as out:
        info = tarfile.TarInfo("photos/odd")
        info.type, info.linkname = kind, "/etc/passwd"
        out.addfile(info)
        inner = tarfile.TarInfo("photos/odd/a.jpg")
        inner.size = 1
        out.addfile(inner, io.BytesIO(b"a"))
    with pytest.raises(ArchiveError, match="holds 'photos/odd', which is a link or a device"):
        unpacked(str(path))
    assert files_in(cache) == []


def test_links_in_zips_are_refused(tmp_path, cache):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as out:
        info = zipfile.ZipInfo("photos/odd")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        out.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match="holds 'photos/odd', which is a link or a device"):
        unpacked(str(path))
    assert files_in(cache) == []


def test_encrypted_zips_are_reported(tmp_path):
    path = MAKERS["stored.zip"](tmp_path / "secret.zip")
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := data.find(magic, start + 1)) >= 0:
            data[start + offset] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ArchiveError, match=r"secret\.zip is encrypted: unpack it yourself"):
        unpacked(str(path))


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.tar.gz", "bomb.tar.xz"])
def test_bombs_are_stopped_while_they_unpack(tmp_path, cache, monkeypatch, name):
    monkeypatch.setattr(archive, "SLACK", 100_000)
    files = {"zeros.jpg": bytes(8_000_000)}
    path = tmp_path / name
    if name.endswith("zip"):
        zipped(path, files, compression=zipfile.ZIP_DEFLATED)
    else:
        tarred(path, files, f"w:{name[-2:]}")
    written = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda folder, **_: written.extend(files_in(folder)))
        with pytest.raises(ArchiveError, match=r"unpacks to more than 200 times its size of .* bytes, as bombs do"):
            unpacked(str(path))
    assert sum(p.stat().st_size for p in written) < 100_000 + 200 * path.stat().st_size + 2**20
    with pytest.raises(ArchiveError):
        unpacked(str(path))
    assert files_in(cache) == []


def test_a_zip_that_lies_about_its_sizes_is_stopped(tmp_path, cache, monkeypatch):
    path = zipped(tmp_path / "bomb.zip", {"zeros.jpg": bytes(8_000_000)}, compression=zipfile.ZIP_DEFLATED)
    data = path.read_bytes().replace((8_000_000).to_bytes(4, "little"), (8).to_bytes(4, "little"))
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="is damaged or cut short"):
        unpacked(str(path))
    assert files_in(cache) == []


def test_huge_headers_count_too(tmp_path, monkeypatch):
    """A pax header is read into memory before any member is seen."""
    monkeypatch.setattr(archive, "SLACK", 100_000)
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as out:
        info = tarfile.TarInfo("a.jpg")
        info.pax_headers = {"comment": "0" * 8_000_000}
        out.addfile(info)
    with pytest.raises(ArchiveError, match="as bombs do"):
        unpacked(str(path))


def test_limits_of_bytes_files_and_disk_space_are_enforced(tmp_path, cache, monkeypatch):
    path = MAKERS["photos.tar"](tmp_path / "photos.tar")
    with monkeypatch.context() as patch:
        patch.setattr(archive, "MAX_BYTES", 5000)
        with pytest.raises(ArchiveError, match=r"unpacks to more than 5,000 bytes, the most that are taken"):
            unpacked(str(path))
    with monkeypatch.context() as patch:
        patch.setattr(archive, "MAX_MEMBERS", 2)
        with pytest.raises(ArchiveError, match="holds more than 2 files"):
            unpacked(str(path))
    with monkeypatch.context() as patch:
        usage = namedtuple("usage", "total used free")
        patch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, archive.RESERVE + 1000))
        with pytest.raises(ArchiveError, match=r"more than the 1,000 bytes that are free; HEADSTAND_CACHE"):
            unpacked(str(path))
    assert files_in(cache) == []


@pytest.mark.parametrize("name", MAKERS)
def test_truncated_archives_are_reported_and_leave_nothing(tmp_path, cache, name):
    path = MAKERS[name](tmp_path / name)
    data = path.read_bytes()
    if name == "photos.tar":  # of what follows the files' bytes the first zeros matter only
        data = data[: data.rindex(FILES["photos/cobra/b.jpg"]) + len(FILES["photos/cobra/b.jpg"]) + 512]
    for share in (0.1, 0.3, 0.6, 0.9, 0.99):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ArchiveError, match=r"damaged or cut short|is neither a folder nor a zip or tar archive"):
            unpacked(str(path))
    assert files_in(cache) == []


@given(st.data())
def test_any_damage_is_reported_or_harmless(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp("damage")
    name = data.draw(st.sampled_from(sorted(MAKERS)))
    path = MAKERS[name](tmp_path / name)
    packed = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(packed))
    try:
        extract(path, tmp_path / "out")
        if name.endswith(("gz", "bz2", "xz", "nothing")):  # whose checksums are of all
            assert content(tmp_path / "out") == FILES
    except (ArchiveError, OSError):
        assert not (tmp_path / "out").exists()
    assert {p.name for p in tmp_path.iterdir()} <= {name, "out"}


def test_a_changed_photo_in_a_zip_is_found(tmp_path):
    path = MAKERS["stored.zip"](tmp_path / "photos.zip")
    path.write_bytes(path.read_bytes().replace(b"aaaa", b"aaab", 1))
    with pytest.raises(ArchiveError, match=r"photos\.zip is damaged or cut short \(Bad CRC-32"):
        unpacked(str(path))


@pytest.mark.parametrize("data", [b"", b"plain text", bytes(2000), b"\x1f\x8b\x08\x00rest"])
def test_a_file_that_is_not_an_archive_is_reported(tmp_path, data):
    (tmp_path / "file.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match=r"file\.zip is (neither a folder nor a zip or tar archive|damaged)"):
        unpacked(str(tmp_path / "file.zip"))


def test_a_compressed_photo_is_not_an_archive(tmp_path):
    import gzip

    (tmp_path / "photo.gz").write_bytes(gzip.compress(b"photo" * 500))
    with pytest.raises(ArchiveError, match=r"photo\.gz is damaged or cut short"):
        unpacked(str(tmp_path / "photo.gz"))


def test_an_archive_without_files_is_reported(tmp_path):
    with pytest.raises(ArchiveError, match="is an archive without files"):
        unpacked(str(tarred(tmp_path / "empty.tar.gz", {}, "w:gz")))
    with pytest.raises(ArchiveError, match="is an archive without files"):
        unpacked(str(zipped(tmp_path / "empty.zip", {})))


def test_an_interrupted_call_leaves_no_folder_and_the_next_succeeds(tmp_path, cache, monkeypatch):
    path = MAKERS["photos.zip"](tmp_path / "photos.zip")
    real, calls = archive._place, []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(archive, "_place", fail)
        with pytest.raises(KeyboardInterrupt):
            unpacked(str(path))
    assert files_in(cache) == []
    for leftover in (cache / "archives").iterdir():
        assert leftover.suffix == ".lock"
    assert content(unpacked(str(path))) == FILES


def test_leftovers_of_a_killed_run_are_cleared(tmp_path, cache):
    path = MAKERS["photos.zip"](tmp_path / "photos.zip")
    folder = unpacked(str(path))
    shutil.rmtree(folder)
    part = folder.with_name(f".{folder.name}.part")
    (part / "old").mkdir(parents=True)
    (part / "old" / "half.jpg").write_bytes(b"half")
    assert content(unpacked(str(path))) == FILES
    assert not part.exists()


def test_a_cache_that_cannot_be_written_is_reported(tmp_path, cache):
    cache.write_text("in the way")
    path = MAKERS["photos.zip"](tmp_path / "photos.zip")
    with pytest.raises(ArchiveError, match=r"cannot unpack .*photos\.zip .*HEADSTAND_CACHE can name another folder"):
        unpacked(str(path))


def test_a_file_in_place_of_a_folder_is_reported(tmp_path, cache):
    path = tarred(tmp_path / "odd.tar", {"a": b"file", "a/b.jpg": b"below it"})
    with pytest.raises(ArchiveError, match=r"cannot unpack .*odd\.tar"):
        unpacked(str(path))
    assert files_in(cache) == []


def test_the_project_cache_is_the_default(tmp_path, monkeypatch):
    monkeypatch.delenv("HEADSTAND_CACHE")
    monkeypatch.chdir(tmp_path)
    folder = unpacked(str(MAKERS["photos.zip"](tmp_path / "photos.zip")))
    assert folder.parent == Path.cwd() / ".cache" / "headstand" / "archives"


def mac_zip(path, files, encoding):
    """A zip whose names are in an encoding without the flag that names it, as macOS writes UTF-8."""
    with zipfile.ZipFile(path, "w") as out:
        for number, data in enumerate(files.values()):
            out.writestr(f"{number:08d}", data)
    content = path.read_bytes()
    for number, name in enumerate(files):
        raw = name.encode(encoding)
        content = content.replace(f"{number:08d}".encode(), raw)
        assert len(raw) == 8  # else the lengths in the headers would be wrong
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "Röcke/a"),  # composed
        ("utf-8", "Ro\u0308ck/a"),  # decomposed, as macOS writes it
        ("utf-8", "写真/a"),
        ("cp437", "Röcke/ab"),
        ("cp437", "Straße/a"),
        ("cp437", "abcdefgh"),
    ],
)
def test_names_in_a_zip_without_the_flag_are_utf_8_or_the_code_page(tmp_path, capsys, encoding, name):
    path = mac_zip(tmp_path / "x.zip", {name: b"x"}, encoding)
    assert content(unpacked(str(path))) == {name: b"x"}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("encoding", "name"), [("cp866", "платье/a"), ("cp932", "写真x/ab"), ("cp850", "São/Øãõ")])
def test_names_in_an_unknown_code_page_are_read_with_a_warning(tmp_path, capsys, encoding, name):
    name = name.ljust(8 - len(name.encode(encoding)) + len(name), "x")
    raw = name.encode(encoding)
    path = mac_zip(tmp_path / "x.zip", {name: b"x"}, encoding)
    assert content(unpacked(str(path))) == {raw.decode("cp437").replace("\\", "/"): b"x"}
    error = capsys.readouterr().err
    assert error.startswith(f"warning: {path} has 1 name in neither UTF-8 nor code page 437, such as ")
    assert "make the archive anew with UTF-8 names" in error


def test_names_in_a_tar_are_utf_8_or_the_code_page(tmp_path, capsys):
    for encoding, warns in (("utf-8", False), ("cp437", False), ("cp866", True)):
        name = "платье/a" if warns else "Röcke/a"
        path = tmp_path / f"{encoding}.tar"
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding=encoding) as out:
            out.addfile(tarfile.TarInfo(name), io.BytesIO())
        expected = name.encode(encoding).decode("cp437") if warns else name
        assert content(unpacked(str(path))) == {expected: b""}
        assert capsys.readouterr().err.startswith("warning: ") == warns


def test_an_archive_with_a_name_of_250_bytes_is_unpacked(tmp_path):
    path = zipped(tmp_path / f"{'ü' * 123}.zip", FILES)
    assert content(unpacked(str(path))) == FILES
