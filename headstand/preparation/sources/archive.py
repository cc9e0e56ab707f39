"""Extraction of untrusted zip and tar archives into the cache folder; stated names and sizes are checked."""

import bz2
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from tqdm import tqdm

from headstand import files, recipe
from headstand.errors import HeadstandError
from headstand.preparation.sources import download
from headstand.storage import Mirror, is_remote, shown

MAX_MEMBERS = 2_000_000
"""Maximum number of files and folders in an archive; ImageNet has 1.3 million."""

MAX_BYTES = 400 * 2**30
"""Maximum unpacked size in bytes."""

MAX_RATIO = 200
"""Maximum ratio of the unpacked size (less `SLACK`) to the archive's size. Photos hardly compress, rows of zeros
compress a thousandfold, and both kinds of decompression bombs compress further."""

SLACK = 256 * 2**20
"""Unpacked size in bytes that every archive is allowed, however small it is."""

RESERVE = 64 * 2**20
"""Bytes of disk space that extraction leaves free."""

_PIECE = 2**20

_UTF8_FLAG = 0x800
"""Flag of a zip entry whose name is UTF-8 (APPNOTE.TXT 4.4.4). The archive tool of macOS writes UTF-8 without it."""

_LONGEST = 100
"""Maximum bytes of the archive's name in its folder's name, so that name and key fit every file system's limit."""

_BY_HAND = "unpack it yourself and name the folder"

_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}


class ArchiveError(HeadstandError):
    """Raised for an archive that cannot be unpacked, or that is unsafe to unpack."""


@dataclass(frozen=True)
class _Member:
    """Archive entry: its path in the archive, its content (None for a folder) and its declared size in bytes."""

    path: str
    content: IO[bytes] | None
    size: int


class _Budget:
    """Limit on the unpacked bytes of an archive: the smallest of `MAX_BYTES`, `MAX_RATIO` and the free disk space."""

    def __init__(self, name: str, packed: int, folder: Path) -> None:
        room = max(0, shutil.disk_usage(folder).free - RESERVE)
        bound = {
            MAX_BYTES: f"more than {MAX_BYTES:,} bytes, the most that are taken",
            packed * MAX_RATIO + SLACK: f"more than {MAX_RATIO} times its size of {packed:,} bytes, as bombs do",
            room: f"more than the {room:,} bytes that are free; HEADSTAND_CACHE can name another folder",
        }
        self.left = min(bound)
        self._sentence = f"{name} unpacks to {bound[self.left]}"

    def spend(self, count: int) -> None:
        """Subtracts `count` bytes from the limit.

        Raises:
            ArchiveError: the limit is exceeded.
        """
        self.left -= count
        if self.left < 0:
            raise ArchiveError(self._sentence)


class _Names:
    """Decoder of the file names in an archive: UTF-8, else code page 437. It records names that seem to be neither."""

    def __init__(self) -> None:
        self._unclear: list[str] = []

    def decode(self, raw: bytes) -> str:
        """Returns the decoded name."""
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            name = raw.decode("cp437")
        # Code page 437 decodes any bytes; box-drawing characters and signs indicate a name in another encoding.
        if not all(character.isascii() or character.isalpha() for character in name):
            self._unclear.append(name)
        return name

    def warning(self, file: Path) -> str:
        """Returns a warning about names whose encoding is unknown; empty if there are none."""
        if not self._unclear:
            return ""
        some = f"{len(self._unclear):,} name{'s' * (len(self._unclear) != 1)}"
        return (
            f"warning: {file} has {some} in neither UTF-8 nor code page 437, such as {self._unclear[0]!r}: if class "
            "names look wrong, unpack it yourself and name the folder, or make the archive anew with UTF-8 names"
        )


class _Metered:
    """Stream wrapper that counts the bytes read against a budget and keeps the last tar block of them."""

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self._stream, self._budget = stream, budget
        self.tail = b""

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._budget.spend(len(data))
        self.tail = (self.tail + data)[-tarfile.BLOCKSIZE :]
        return data


def unpacked(location: str, *, digest: str | None = None) -> Path:
    """Returns the folder with the files of an archive, which is downloaded and unpacked into the cache if necessary.

    Args:
        location: a folder, which is returned unchanged; or a zip or tar (plain, gz, bz2, xz) with any file name: a
            path, resolved by `recipe.locate` with `HEADSTAND_DATA`, or a URL that `download.fetch` accepts; or the URL
            of a folder (`s3://BUCKET/KEY/`), of which a copy in the cache is updated.
        digest: expected digest of the archive, `sha256:HEX` or `md5:HEX`.

    Returns:
        The folder in the cache: `archives/KEY-NAME`, where KEY is a hash of a local archive's content, or of the URL
        and `digest`. A folder at a URL is copied to `remote/KEY-NAME`. A second call for an archive does nothing. An
        interrupted call leaves no folder; its download is resumed by the next call.

    Raises:
        TransferError: as `download.fetch`.
        ArchiveError: not an archive, damaged, encrypted, or larger than the limits; or a member lies outside the folder
            or is neither a file nor a folder. No unpacked files remain.
        RemoteError: a folder's URL cannot be reached.
        RecipeError: the path does not exist.
    """
    folder = (files.cache() / "archives").absolute()
    if not is_remote(location):
        path = recipe.locate(location, "HEADSTAND_DATA")
        if path.is_dir():
            return path
        name, file = path.name, download.fetch(str(path), path, digest=digest)
        key = files.digest(file)
    elif (copied := _folder_at(location)) is not None:
        return copied
    else:
        name = re.sub(r"[^\w.-]", "_", shown(location).rstrip("/").rpartition("/")[2])[-100:]
        key = hashlib.sha256(f"{location} {digest or ''}".encode()).hexdigest()
        file = None
    short = os.fsencode(_stem(name))[:_LONGEST].decode("utf-8", "ignore")
    target = folder / f"{key[:16]}-{short}"
    try:
        if target.is_dir():
            return target
        with files.sole(target):
            if not target.is_dir():
                fetched = file or download.fetch(
                    location, folder.with_name("downloads") / f"{key[:16]}-{name}", digest=digest
                )
                try:
                    extract(fetched, target)
                except ArchiveError:
                    if file is None:  # else the next call would unpack the same bad download
                        fetched.unlink()
                    raise
                if file is None:
                    fetched.unlink()
    except OSError as error:
        raise ArchiveError(
            f"cannot unpack {shown(location)} to {target}: {error.strerror or error}; "
            "HEADSTAND_CACHE can name another folder"
        ) from error
    return target


def _folder_at(location: str) -> Path | None:
    """Returns an updated copy of the folder at a URL; None if the URL is a file, HTTP(S), or named as an archive."""
    if location.lower().startswith(("http:", "https:")) or _stem(location) != location:
        return None
    key = hashlib.sha256(location.rstrip("/").encode()).hexdigest()[:16]
    target = files.cache().absolute() / "remote" / f"{key}-{location.rstrip('/').rpartition('/')[2]}"
    try:
        mirror = Mirror(location, target)
        if not mirror.listed() or not mirror.is_folder():
            return None
        with files.sole(target):
            if mirror.pull():
                print(f"brought {shown(location)} up to date in {target}", file=sys.stderr)
            mirror.drop()
    except OSError as error:
        raise ArchiveError(
            f"cannot copy {shown(location)} to {target}: {error.strerror or error}; HEADSTAND_CACHE can name another "
            "folder"
        ) from error
    return target


def extract(file: Path, target: Path) -> None:
    """Unpacks a zip or tar into the new folder `target`, completely or not at all.

    Raises:
        ArchiveError: as `unpacked`.
        OSError: the disk cannot be written.
    """
    try:
        with files.building(target) as part:
            _fill(file, part)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, gzip.BadGzipFile) as error:
        raise ArchiveError(f"{file} is damaged or cut short ({_reason(error)}): fetch it anew") from error
    except NotImplementedError as error:
        raise ArchiveError(
            f"{file} is packed in a way that Python cannot read ({_reason(error)}): {_BY_HAND}"
        ) from error


def _fill(file: Path, part: Path) -> None:
    budget = _Budget(str(file), file.stat().st_size, part)
    count = 0
    names = _Names()
    with _members(file, names, budget) as members:
        bar = tqdm(members, "unpacking", unit="file", leave=False, disable=None)
        for member in bar:
            count += 1
            if count > MAX_MEMBERS:
                raise ArchiveError(f"{file} holds more than {MAX_MEMBERS:,} files; no more are taken")
            _place(file, member, part)
    if not count:
        raise ArchiveError(f"{file} is an archive without files")
    if warning := names.warning(file):
        print(warning, file=sys.stderr)


@contextmanager
def _members(file: Path, names: "_Names", budget: _Budget) -> Iterator[Iterator[_Member]]:
    with ExitStack() as stack:
        with file.open("rb") as stream:
            start = stream.read(512)
        packed = next((opener for magic, opener in _PACKED.items() if start.startswith(magic)), None)
        # Tar is tested first: a tar whose last file is a zip also ends like a zip.
        if packed or start[257:262] == b"ustar" or _is_old_tar(start):
            plain = stack.enter_context((packed or open)(file, "rb"))
            metered = _Metered(plain, budget)
            tar = stack.enter_context(tarfile.open(fileobj=cast(IO[bytes], metered), mode="r|", encoding="utf-8"))
            yield _tar(file, tar, names, metered)
        elif zipfile.is_zipfile(file):
            yield _zip(file, stack.enter_context(zipfile.ZipFile(file)), names, budget)
        else:
            page = start.lstrip()[:1] == b"<"
            what = "a web page, not an archive" if page else "neither a folder nor a zip or tar archive"
            raise ArchiveError(f"{file} is {what}: check where it comes from")


def _is_old_tar(start: bytes) -> bool:
    """Returns whether `start` is a pre-POSIX tar header, which has no magic number but a checksum."""
    try:
        return bool(start[:1].strip(b"\0")) and bool(tarfile.TarInfo.frombuf(start[:512], "utf-8", "surrogateescape"))
    except tarfile.TarError:
        return False


def _zip(file: Path, archive: zipfile.ZipFile, names: "_Names", budget: _Budget) -> Iterator[_Member]:
    for info in archive.infolist():
        # Without the flag zipfile decodes as code page 437, which maps every byte to one character and back.
        flagged = info.flag_bits & _UTF8_FLAG
        name = info.filename if flagged else names.decode(info.filename.encode("cp437"))
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"{file} holds {info.filename!r}, which is a link or a device: {_BY_HAND}")
        if info.flag_bits & 1:
            raise ArchiveError(f"{file} is encrypted: {_BY_HAND}")
        if info.is_dir():
            yield _Member(name, None, 0)
            continue
        with archive.open(info) as content:
            yield _Member(name, cast(IO[bytes], _Metered(content, budget)), info.file_size)


def _tar(file: Path, archive: tarfile.TarFile, names: "_Names", stream: _Metered) -> Iterator[_Member]:
    while (info := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # a million members would take a gigabyte of memory
        # tarfile decodes as UTF-8 and keeps other bytes as surrogates.
        name = names.decode(info.name.encode("utf-8", "surrogateescape"))
        if info.isdir():
            yield _Member(name, None, 0)
        elif info.isreg():
            yield _Member(name, archive.extractfile(info), info.size)
        else:
            raise ArchiveError(f"{file} holds {info.name!r}, which is a link or a device: {_BY_HAND}")
    if stream.tail.strip(b"\0"):
        raise ArchiveError(f"{file} is damaged or cut short (its end is missing): fetch it anew")
    while stream.read(_PIECE):  # a compressed tar's checksum is verified only when its end is read
        pass


def _place(file: Path, member: _Member, folder: Path) -> None:
    """Writes one member below `folder`, which contains no links, as `_zip` and `_tar` refuse them."""
    name = member.path.replace("\\", "/")  # some Windows programs write backslashes
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise ArchiveError(f"{file} holds {member.path!r}, which leads out of its folder: do not trust it")
    if os.name == "nt" and re.search('[<>:"|?*]', name):  # a colon would open an alternate data stream of another file
        raise ArchiveError(f"{file} holds {member.path!r}, a name that Windows does not allow: {_BY_HAND}")
    path = folder.joinpath(*parts)
    if member.content is None:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("wb") as out:
        while piece := member.content.read(_PIECE):
            count += len(piece)
            out.write(piece)
    if count != member.size:
        raise ArchiveError(
            f"{file} is damaged or cut short ({member.path!r} has {count:,} of {member.size:,} bytes): fetch it anew"
        )


def _stem(name: str) -> str:
    """Returns an archive's name without its extensions."""
    return re.sub(r"(\.(zip|tar|tgz|tbz2?|txz|gz|bz2|xz))+$", "", name, flags=re.IGNORECASE) or "archive"


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
