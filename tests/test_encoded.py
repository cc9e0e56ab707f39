import io
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstand import encoded
from headstand.encoded import ImageError, open_image
from headstand.images import decode
from tests import bombs

ROOT = Path(__file__).parents[1]

CEILING = 400
"""Megabytes that decoding one image may take: what docs/threat-model.md states."""

ORDINARY = 160
"""Megabytes that it may take where other threads may decode at the same time."""

SECONDS = 20
"""Of processor time, far above what any bomb takes: about three on a slow core."""


def measured(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Decode bombs in a process of their own, which the system ends should one of them run away."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("memory is read from /proc")
    command = [sys.executable, "-m", "tests.bombs", *names]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert found.returncode == 0, f"after {[row['name'] for row in rows]}: {found.stderr[-2000:]}"
    return {row["name"]: row for row in rows}


def check(name: str, row: dict[str, Any], ceiling: float = CEILING) -> None:
    assert row["outcome"] == bombs.BOMBS[name][0]
    assert row["megabytes"] < ceiling and row["seconds"] < SECONDS


@pytest.fixture(scope="module")
def cheap() -> dict[str, dict[str, Any]]:
    return measured(bombs.CHEAP)


@pytest.fixture(scope="module")
def costly() -> dict[str, dict[str, Any]]:
    return measured([*bombs.COSTLY, *bombs.ORDINARY])


@pytest.mark.parametrize("name", bombs.CHEAP)
def test_a_bomb_is_refused_or_decoded_within_the_ceilings(cheap: dict[str, dict[str, Any]], name: str) -> None:
    check(name, cheap[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", bombs.COSTLY)
def test_a_costly_bomb_stays_within_the_ceilings(costly: dict[str, dict[str, Any]], name: str) -> None:
    check(name, costly[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", bombs.ORDINARY)
def test_what_threads_decode_side_by_side_takes_little(costly: dict[str, dict[str, Any]], name: str) -> None:
    check(name, costly[name], ORDINARY)


def code_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, 16)
    return caught.value.code


def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 800, 3)).astype(np.uint8))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {"quality": 95}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("GIF", {}), ("BMP", {})],
)
def test_a_photo_is_far_from_the_limit_of_reads(
    kind: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bombs.encoded(photo(), kind, **options)
    monkeypatch.setattr(encoded, "_MAX_READS", 300)
    assert decode(data, 64).shape == (64, 64, 3)
    monkeypatch.setattr(encoded, "_MAX_READS", 1)
    assert code_of(data) == "too_large"


def test_a_png_of_small_chunks_and_a_run_length_bitmap_are_far_from_it_too() -> None:
    whole = bombs.png(500, 500)
    start = whole.index(b"IDAT") + 4
    packed = whole[start : start + int.from_bytes(whole[start - 8 : start - 4], "big")]
    pieces = b"".join(bombs.chunk(b"IDAT", packed[at : at + 1]) for at in range(len(packed)))
    assert decode(bombs.png(500, 500, pixels=pieces), 16).shape == (16, 16, 3)
    runs = bombs.bmp(256, 256, 8, 1, (b"\1\0" * 256 + b"\0\0") * 256 + b"\0\1")
    assert decode(runs, 16).shape == (16, 16, 3)


def exif(size: int) -> bytes:
    """An orientation, then nothing of use."""
    return bombs.exif((0x112, 3, 1, 6 << 16), size=size)


def test_exif_may_have_a_megabyte() -> None:
    for kind in ("PNG", "WEBP"):
        picture = Image.new("RGB", (8, 4))
        assert decode(bombs.encoded(picture, kind, exif=exif(encoded.MAX_EXIF - 100))).shape == (8, 4, 3)
        data = bombs.encoded(picture, kind, exif=exif(encoded.MAX_EXIF))
        assert code_of(data) == "too_large"
        with pytest.raises(ImageError):
            encoded.dimensions(data)


def test_exif_in_hexadecimal_text_may_have_a_megabyte_too() -> None:
    def profile(data: bytes) -> bytes:
        return bombs.chunk(b"tEXt", b"Raw profile type exif\0\nexif\n9\n" + data.hex().encode())

    assert decode(bombs.png(8, 4, before=profile(b"Exif\0\0" + exif(100)))).shape == (8, 4, 3)
    assert code_of(bombs.png(8, 4, before=profile(b"Exif\0\0" + exif(2 * encoded.MAX_EXIF)))) == "too_large"


def test_a_jpeg_may_have_an_exif_segment_for_each_of_its_pictures() -> None:
    segments = [bombs.segment(0xE1, b"Exif\0\0" + exif(0))] * 33
    assert decode(bombs.jpeg(*segments[:32]), 16).shape == (16, 16, 3)
    assert code_of(bombs.jpeg(*segments)) == "too_large"


def test_a_png_may_have_256_texts() -> None:
    texts = [bombs.chunk(b"zTXt", b"%d\0\0" % number + bombs.zeros(9)) for number in range(257)]
    assert decode(bombs.png(before=b"".join(texts[:256])), 16).shape == (16, 16, 3)
    assert code_of(bombs.png(before=b"".join(texts))) == "too_large"


@pytest.mark.parametrize(
    ("data", "cost"),
    [
        (bombs.SMALL_JPEG, 1),
        (bombs.SMALL_GIF, 1),
        (bombs.png(), 1),
        (bombs.png(before=bombs.chunk(b"tRNS", bytes(6))), 1),
        (bombs.png(depth=16, before=bombs.chunk(b"tRNS", bytes(6))), 4),
        (bombs.SMALL_WEBP, 4),
        (bombs.bmp(2, 2, 8, 0, bytes(8)), 1),
        (bombs.bmp(2, 2, 8, 1, b"\2\0\0\0\2\0\0\1"), 4),
        (bombs.plain("CMYK", "JPEG", 8, 8), 1),
        (bombs.plain("CMYK", "JPEG", 8, 8, progressive=True), 2),
        (bombs.plain("RGB", "JPEG", 8, 8, progressive=True), 1),
    ],
)
def test_costly_kinds_may_have_fewer_pixels(data: bytes, cost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_image(data) as image:
        assert encoded.cost(image) == cost
        pixels = image.width * image.height
    monkeypatch.setattr(encoded, "MAX_PIXELS", pixels * cost)
    assert decode(data, 16).shape == (16, 16, 3)
    monkeypatch.setattr(encoded, "MAX_PIXELS", pixels * cost - 1)
    assert code_of(data) == "too_large"


def test_the_longest_side_is_a_jpegs() -> None:
    assert decode(bombs.png(encoded.MAX_SIDE, 1), 16).shape == (16, 16, 3)
    assert code_of(bombs.png(encoded.MAX_SIDE + 1, 1)) == "too_large"
    assert code_of(bombs.png(1, encoded.MAX_SIDE + 1)) == "too_large"


@pytest.mark.parametrize("data", [bombs.SMALL_JPEG, bombs.png(), bombs.SMALL_GIF, bombs.SMALL_WEBP])
def test_what_follows_an_image_changes_nothing(data: bytes) -> None:
    assert np.array_equal(decode(bombs.trailing(data), 16), decode(data, 16))


def test_what_precedes_an_image_makes_it_none() -> None:
    for data in (bombs.SMALL_JPEG, bombs.png(), bombs.SMALL_GIF, bombs.SMALL_WEBP):
        assert code_of(b"<html>" + data) == "not_an_image"
        assert code_of(b"\0" + data) == "not_an_image"


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "TGA", "PDF", "EPS", "ICNS", "JPEG2000", "PCX", "SGI", "DDS"])
def test_a_name_or_a_wish_opens_no_other_format(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(bombs.encoded(Image.new("RGB", (32, 32)), kind))
    with pytest.raises(ImageError) as caught:
        decode(path, 16)
    assert caught.value.code == "not_an_image"


@pytest.mark.parametrize("step", ["open", "decode"])
def test_memory_that_runs_out_is_no_damage(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr(*((Image, "open") if step == "open" else (Image.Image, "resize")), exhausted)
    assert code_of(bombs.SMALL_JPEG) == "too_large"


def test_an_icon_inside_a_bitmap_is_a_bitmap() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(stream, "ICO", bitmap_format="bmp")
    assert code_of(stream.getvalue()) == "not_an_image"
