import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstand.images import decode, open_image
from headstand.preparation.conversion import CONVERSIONS, conversions
from headstand.preparation.prepare import prepare
from headstand.recipe import Recipe, Source
from tests.preparation.photos import class_folders, picture

RED = (200, 30, 40)


def plain(mode: str = "RGB", colour: object = RED, size: tuple[int, int] = (8, 6)) -> Image.Image:
    return Image.new(mode, size, colour)


def encoded(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


def palette(transparent: bool = False) -> bytes:
    image = plain().quantize(4)
    return encoded(image, transparency=0) if transparent else encoded(image)


def sixteen_bits_of_colour() -> bytes:
    """A 16-bit RGB PNG, which Pillow reads and does not write: 2 x 1 pixels, by the PNG specification."""
    import struct
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    pixels = b"\0" + struct.pack(">6H", *(257 * value for value in RED * 2))
    head = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(plain(), exif=exif)


def animated(format_: str) -> bytes:
    return encoded(plain(), format_, save_all=True, append_images=[plain(colour=(0, 0, 255))], lossless=True)


CASES = {
    "rgb": (encoded(plain()), (), RED),
    "palette": (palette(), ("palette",), RED),
    "palette with a transparent colour": (palette(True), ("palette", "transparency"), (255, 255, 255)),
    "alpha": (encoded(plain("RGBA", (*RED, 0))), ("transparency",), (255, 255, 255)),
    "grey with alpha": (encoded(plain("LA", (90, 255))), ("transparency", "grey"), (90, 90, 90)),
    "rgb with a transparent colour": (encoded(plain(), transparency=RED), ("transparency",), (255, 255, 255)),
    "cmyk": (encoded(plain("CMYK", (0, 0, 0, 0)), "JPEG"), ("CMYK",), (255, 255, 255)),
    "grey": (encoded(plain("L", 90)), ("grey",), (90, 90, 90)),
    "one bit": (encoded(plain("1", 1)), ("black and white",), (255, 255, 255)),
    "16-bit grey": (encoded(plain("I;16", 257 * 90)), ("grey", "16 bits"), (90, 90, 90)),
    "16-bit colour": (sixteen_bits_of_colour(), ("16 bits",), RED),
    "animated webp": (animated("WEBP"), ("several frames",), RED),
    "animated png": (animated("PNG"), ("several frames",), RED),
    "animated gif": (animated("GIF"), ("palette", "several frames"), RED),
    "turned": (rotated(6), ("EXIF turn",), RED),
    "upright by its EXIF": (rotated(1), (), RED),
    "an orientation that is none": (rotated(9), (), RED),
}


@pytest.mark.parametrize("name", CASES)
def test_the_named_conversions_are_those_of_the_decoder(name):
    data, expected, colour = CASES[name]
    with open_image(data) as image:
        assert conversions(image, data) == expected
    pixels = decode(data).reshape(-1, 3)
    assert np.abs(pixels.astype(int) - colour).max() <= 1
    assert decode(data).shape[:2] == ((8, 6) if name == "turned" else (1, 2) if name == "16-bit colour" else (6, 8))


def test_every_conversion_is_covered():
    assert {name for _, names, _ in CASES.values() for name in names} == set(CONVERSIONS)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_no_rotation():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"
    data = encoded(plain(), "JPEG", exif=exif)
    with open_image(data) as image:
        assert conversions(image, data) == ()


def test_a_damaged_second_frame_is_ignored():
    data = animated("GIF")
    second = data.rindex(b"\x2c")  # its image descriptor
    with open_image(data[: second + 5]) as image:
        assert "several frames" in conversions(image, data)


def test_preparation_reports_what_is_converted_and_copies_every_byte(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = class_folders(tmp_path / "photos", {"cobra": 6, "tree": 6})
    (source / "tree" / "2.jpg").write_bytes(encoded(picture(500).convert("L"), "JPEG"))
    (source / "tree" / "4.jpg").write_bytes(encoded(picture(501).convert("LA")))
    clear = picture(502).convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    (source / "cobra" / "5.jpg").write_bytes(encoded(clear))
    expected = {"transparency": ["cobra/5.jpg", "tree/4.jpg"], "grey": ["tree/2.jpg", "tree/4.jpg"]}
    for seed in (1, 1, 2):  # computed, kept, computed from the cache
        summary = prepare(Recipe(name="poses", seed=seed, source=Source(folder=str(source))))
        assert summary.converted == expected
        assert list(summary.converted) == ["transparency", "grey"]
    assert "converted when read: 2 photos, transparency (it is laid over white): cobra/5.jpg, tree/4.jpg" in str(
        summary
    )
    record = json.loads(Path("data/poses/prepared.json").read_text())
    assert record["summary"]["converted"] == expected
    copies = {path.read_bytes() for path in Path("data/poses").glob("*/*/*.*")}
    assert copies == {path.read_bytes() for path in source.rglob("*.jpg")}
