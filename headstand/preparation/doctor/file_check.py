"""Reading of the files to check: metadata of each one, or the problem that makes it unusable."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from headstand import threads
from headstand.images import ImageError, formats, load
from headstand.preparation.examination import examine
from headstand.preparation.file_metadata import FileMetadata
from headstand.preparation.listing import Item


@dataclass(frozen=True)
class FileCheck:
    """Result of reading one file.

    Attributes:
        item: the file and its class.
        name: path relative to the checked folder.
        file: metadata; at most its `sha256` is set if the file is unusable.
        problem: code and message if the file is unusable.
    """

    item: Item
    name: str
    file: FileMetadata
    problem: tuple[str, str] | None = None


def check_files(items: Sequence[Item], names: Sequence[str], large: bool = False) -> list[FileCheck]:
    """Reads files with as many threads as cores and returns one result per file in input order.

    Progress is shown on standard error.

    Args:
        items: the files.
        names: path of each file relative to the checked folder.
        large: apply the larger size limits for a user's own files.
    """
    named = list(zip(items, names, strict=True))
    return list(threads.parallel(lambda pair: _check(*pair, large), named, "examining", "file"))


def _check(item: Item, name: str, large: bool) -> FileCheck:
    def unusable(code: str, message: str, sha256: str = "") -> FileCheck:
        return FileCheck(item, name, FileMetadata("", sha256, 0, 0), (code, message))

    try:
        with item.path.open("rb") as opened:
            data = load(opened, large)
    except FileNotFoundError:
        return unusable("missing_file", "it is not there")
    except OSError as error:
        return unusable("unreadable", error.strerror or str(error))
    except ImageError as error:
        return unusable(error.code, str(error))
    if not data:
        return unusable("empty_file", "0 bytes")
    try:
        file = examine(data, large).file
    except ImageError as error:
        return unusable(_code(error, data), str(error), hashlib.sha256(data).hexdigest())
    if file.measures and (filled := file.measures.filled):
        return unusable("truncated", f"the lower {filled:.0%} of the picture are plain grey", file.sha256)
    return FileCheck(item, name, file)


def _code(error: ImageError, data: bytes) -> str:
    """Returns the code of the finding; only Pillow's message distinguishes a truncated file from a damaged one."""
    if error.code == "not_an_image" and (kind := formats.identify(data)) and kind.image:
        return "unsupported_format"
    if error.code == "corrupt_image":
        return "truncated" if "truncated" in str(error) else "damaged"
    return error.code
