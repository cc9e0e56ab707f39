"""Detection of file formats by the first bytes of a file, and remedies for unsupported formats.

File names and extensions are ignored. Sources: the formats' specifications; https://mimesniff.spec.whatwg.org; `file`'s
magic database.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from headstand.images.isolated import MODULES, enabled

HEAD = 512
"""Number of bytes at the start of a file that identify its format."""


@dataclass(frozen=True)
class Format:
    """File format.

    Attributes:
        name: name for messages; for decoded formats Pillow's name.
        image: whether it is an image format. Images in a class folder are listed regardless of their name, other files
            only if they have a photo's extension.
        decoded: whether `headstand.images` decodes it.
        isolated: whether it does so in a process of its own, if the decoder is installed; see `isolated.py`.
    """

    name: str
    image: bool = True
    decoded: bool = False
    isolated: bool = False


_AVIF, _HEIC, _TIFF = (Format(name, decoded=True, isolated=True) for name in ("AVIF", "HEIC", "TIFF"))

_COMMENT = rb"<!--((?!-->).)*-->\s*"
"""A comment, which ends at its first `-->`: with `.*?` a client's 70 comments would match in 2**70 ways."""

# Regular expressions for the first bytes of a file, in order of precedence.
_SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (rb"\xff\xd8\xff", Format("JPEG", decoded=True)),
    (rb"\x89PNG\r\n\x1a\n", Format("PNG", decoded=True)),
    (rb"GIF8[79]a", Format("GIF", decoded=True)),
    (rb"RIFF.{4}WEBP", Format("WEBP", decoded=True)),
    (rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", Format("BMP", decoded=True)),
    (rb".{4}ftyp(avif|avis)|.{4}ftyp(mif1|msf1|miaf).{4}(.{4})*?(avif|avis)", _AVIF),
    (rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1|miaf)", _HEIC),
    (rb".{4}ftypcrx ", Format("a Canon raw file (CR3)")),
    (rb".{4}ftypj(p2|px|pm) |\0\0\0\x0cjP  |\xff\x4f\xff\x51", Format("JPEG 2000")),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", Format("JPEG XL")),
    (rb"II\xbc[\0\x01]", Format("JPEG XR")),
    (rb"(II\*\0|MM\0\*).{4}CR", Format("a Canon raw file (CR2)")),
    (rb"FUJIFILMCCD-RAW", Format("a Fujifilm raw file (RAF)")),
    (rb"II(RO|RS|U\0)|MMOR|FOVb|\0MRM", Format("a camera's raw file")),
    (rb"II\*\0|MM\0\*", _TIFF),
    (rb"II\+\0|MM\0\+", Format("BigTIFF")),
    (rb"8BPS", Format("Photoshop (PSD)")),
    (rb"gimp xcf", Format("GIMP (XCF)")),
    (rb"\0\0[\x01\x02]\0[\x01-\x40]\0", Format("an icon (ICO)")),
    (rb"v/1\x01", Format("OpenEXR")),
    (rb"#\?(RADIANCE|RGBE)", Format("Radiance HDR")),
    (rb"qoif", Format("QOI")),
    (rb"P[1-6]\s+(#|\d+\s+\d+\s)|P7\n|P[Ff]\n", Format("PNM")),
    (rb".{128}DICM", Format("DICOM")),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>)?\s*(" + _COMMENT + rb"|<!DOCTYPE svg[^>]*>\s*)*<svg[\s>]", Format("SVG")),
    (rb"%!PS", Format("PostScript (EPS)")),
    (rb"%PDF-", Format("PDF", image=False)),
    (rb"(?i)(\xef\xbb\xbf)?\s*(" + _COMMENT + rb")*<(!doctype html|html|head|body)", Format("a web page", image=False)),
    (rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01\xba", Format("a video", image=False)),
    (rb"PK(\x03\x04|\x05\x06)", Format("a zip archive", image=False)),
    (rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ\0|7z\xbc\xaf\x27\x1c|Rar!", Format("an archive", image=False)),
    (rb"version https://git-lfs", Format("a Git LFS pointer", image=False)),
)

_PATTERNS = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in _SIGNATURES)

_REMEDIES = {
    "a web page": "download the picture itself",
    "a zip archive": "unpack it",
    "an archive": "unpack it",
    "a Git LFS pointer": "fetch the file with `git lfs pull`",
    "a video": "extract frames as JPEG or PNG",
}


def identify(head: bytes) -> Format | None:
    """Returns the format of a file from its first `HEAD` bytes, or None if it is unknown."""
    head = head[:HEAD]
    return next((kind for pattern, kind in _PATTERNS if pattern.match(head)), None)


def refusal(data: bytes) -> str:
    """Returns a text for an error message with the format of data that is not decoded, and the remedy.

    The text is empty if the format is unknown or is decoded.
    """
    kind = identify(data)
    if kind is None or (kind.decoded and not kind.isolated):
        return ""
    missing = f", which is not enabled here (it needs {MODULES[kind.name]})" if kind.isolated else ""
    return f"it is {kind.name}{missing}: {_REMEDIES.get(kind.name, 'convert it to JPEG or PNG')}"


def isolated(data: bytes) -> str:
    """Returns the name of the format of data that `isolated.py` decodes, if it is enabled; else an empty text."""
    kind = identify(data)
    return kind.name if kind and kind.isolated and enabled(kind.name) else ""


def is_listed(path: Path, extensions: Collection[str]) -> bool:
    """Returns whether a file is one of a source's items, by its extension or, for photos, by its content.

    Args:
        path: the file.
        extensions: extensions of the items, in lower case with the dot. The content is checked only if they include
            `.jpg`.
    """
    return path.is_file() and (path.suffix.lower() in extensions or (".jpg" in extensions and is_image_file(path)))


def is_image_file(path: Path) -> bool:
    """Returns whether a file's content is an image of a known format, decoded or not, regardless of its name."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            kind = identify(file.read(HEAD))
    except OSError:
        return False
    return kind is not None and kind.image
