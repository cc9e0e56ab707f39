import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from headstand.errors import ImageError
from headstand.images import formats
from headstand.images.encoded import open_image
from headstand.images.formats import identify, is_image_file, isolated, refusal
from headstand.images.isolated import MODULES, enabled


def box(brand: bytes, *compatible: bytes) -> bytes:
    return b"\0\0\0\x20ftyp" + brand + b"\0\0\0\0" + b"".join(compatible) + b"\0" * 40


ISOLATED = {
    "HEIC": (box(b"heic"), box(b"heix"), box(b"mif1", b"mif1", b"heic"), box(b"msf1", b"hevc")),
    "AVIF": (box(b"avif"), box(b"avis"), box(b"mif1", b"avif", b"miaf")),
    "TIFF": (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"),
}
UNSUPPORTED = {
    "JPEG XL": (b"\xff\x0a\x00\x00", b"\0\0\0\x0cJXL \r\n\x87\n"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51\0"),
    "JPEG XR": (b"II\xbc\x01\0",),
    "BigTIFF": (b"II+\0\x08\0", b"MM\0+\0\x08"),
    "a Canon raw file (CR2)": (b"II*\0\x10\0\0\0CR\x02\0",),
    "a Canon raw file (CR3)": (box(b"crx "),),
    "a Fujifilm raw file (RAF)": (b"FUJIFILMCCD-RAW 0201",),
    "a camera's raw file": (b"IIRO\x08\0", b"IIU\0\x18\0"),
    "Photoshop (PSD)": (b"8BPS\0\x01",),
    "GIMP (XCF)": (b"gimp xcf v011",),
    "SVG": (b"<svg xmlns='x'>", b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a -->\n<svg>", b"<!DOCTYPE svg><svg >"),
    "an icon (ICO)": (b"\0\0\x01\0\x01\0\x10\x10",),
    "OpenEXR": (b"v/1\x01\x02",),
    "PNM": (b"P6\n3 2\n255\n",),
    "DICOM": (b"\0" * 128 + b"DICM",),
    "PostScript (EPS)": (b"%!PS-Adobe-3.0 EPSF-3.0",),
}
EXAMPLES = [(name, data) for name, some in UNSUPPORTED.items() for data in some]


@pytest.mark.parametrize(("name", "data"), EXAMPLES)
def test_a_refusal_names_the_unsupported_format_and_the_remedy(name, data):
    with pytest.raises(ImageError) as raised:
        open_image(data)
    assert raised.value.code == "not_an_image"
    assert str(raised.value).endswith(f"; it is {name}: convert it to JPEG or PNG")


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, some in ISOLATED.items() for data in some])
def test_a_format_that_is_not_enabled_is_named_with_what_it_needs(name, data, monkeypatch):
    assert isolated(data) == name
    monkeypatch.setitem(MODULES, name, "headstand.nothing")
    enabled.cache_clear()
    try:
        assert isolated(data) == ""
        with pytest.raises(ImageError) as raised:
            open_image(data)
    finally:
        enabled.cache_clear()
    assert raised.value.code == "not_an_image"
    reason = f"; it is {name}, which is not enabled here (it needs headstand.nothing): convert it to JPEG or PNG"
    assert str(raised.value).endswith(reason)
    assert f"{name})" not in str(raised.value).partition(";")[0]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\n<!DOCTYPE html><html>", "it is a web page: download the picture itself"),
        (b"<!-- x --><HTML>", "it is a web page: download the picture itself"),
        (b"PK\x03\x04\x14", "it is a zip archive: unpack it"),
        (b"\x1f\x8b\x08", "it is an archive: unpack it"),
        (box(b"isom", b"mp41"), "it is a video: extract frames as JPEG or PNG"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "it is a Git LFS pointer: fetch the file with `git lfs pull`",
        ),
        (b"%PDF-1.7", "it is PDF: convert it to JPEG or PNG"),
        (b"hello", ""),
        (b"", ""),
        (b"\xff\xd8\xff\xe0", ""),
    ],
)
def test_other_file_formats_are_named_too(data, text):
    assert refusal(data) == text


def test_many_comments_take_no_time():
    """A pattern that can divide them in many ways would try all 2**73; in a process, so that it can be stopped."""
    patterns = [pattern.pattern for pattern, _ in formats._PATTERNS]
    heads = [b"<!---->" * 73 + end for end in (b"", b"<a>")]
    code = f"import re; [re.match(pattern, head, re.DOTALL) for pattern in {patterns!r} for head in {heads!r}]"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, timeout=60)
    assert refusal(b"<!--a--><!-- > - --><!----><svg>").startswith("it is SVG")


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_decoded_formats_are_identified_by_content(tmp_path, name):
    stream = BytesIO()
    Image.new("RGB", (4, 3)).save(stream, name)
    kind = identify(stream.getvalue())
    assert kind is not None and (kind.name, kind.decoded) == (name, True)
    for file in ("a2", "photo.jpg_large", "photo.pjpeg", "IMG_1.HEIC", "x.txt"):
        (tmp_path / file).write_bytes(stream.getvalue())
        assert is_image_file(tmp_path / file)


@pytest.mark.parametrize("data", [b"", b"BM and more text", b"RIFF1234WAVE", b"notes", b"P1 for Anna", b"%PDF-1.7"])
def test_other_files_are_not_images(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    assert not is_image_file(tmp_path / "a")
    assert not is_image_file(tmp_path)
    assert not is_image_file(tmp_path / "none")
