import io
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_image_helper.base import BasePreprocessor
from PIL import Image, ImageCms

from headstand import images
from headstand.images import ImageError, Preprocessor, decode
from tests import skips

COLORS = np.array([[[250, 10, 20], [10, 240, 30]], [[20, 30, 230], [240, 230, 10]]], np.uint8)
"""Red and green over blue and yellow: no turn and no mirror image of it is the same."""


def scene(width: int = 64, height: int = 48) -> np.ndarray:
    """Four quarters of one colour each, `uint8 [height, width, 3]`."""
    return COLORS.repeat(height // 2, axis=0).repeat(width // 2, axis=1)


def photo(width: int, height: int) -> np.ndarray:
    """Waves and edges, as a photo has them; `uint8 [height, width, 3]`."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [np.sin(9 * x + 4 * y), np.cos(7 * y - 3 * x), np.sin(30 * x * y)]
    return np.stack([127 + 100 * wave * (0.6 + 0.4 * (x > y)) for wave in waves], axis=2).astype(np.uint8)


def encoded(picture: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    result = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    result.save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int, *, depth: int = 8, color: int = 2, rows: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG chunk by chunk, for what Pillow does not write (PNG specification, 5.3 and 11.2.2)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def code_of(data: bytes | Path, size: int | None = None) -> str:
    with pytest.raises(ImageError) as excinfo:
        decode(data, size)
    assert str(excinfo.value) and "\n" not in str(excinfo.value)
    return excinfo.value.code


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP"])
def test_lossless_formats_are_decoded_exactly(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decode(encoded(scene(), kind, **options))
    assert found.dtype == np.uint8 and np.array_equal(found, scene())


def test_jpeg_and_mpo_are_decoded_closely() -> None:
    for kind, options in (("JPEG", {}), ("JPEG", {"progressive": True}), ("MPO", {"save_all": True})):
        found = decode(encoded(scene(), kind, quality=95, subsampling=0, **options)).astype(int)
        assert found.shape == (48, 64, 3) and np.abs(found - scene()).max() <= 12


def test_a_path_reads_the_same_as_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(scene()))
    assert np.array_equal(decode(path), decode(str(path))) and np.array_equal(decode(path), scene())
    assert code_of(tmp_path / "none.png") == "not_an_image"
    assert code_of(tmp_path) == "not_an_image"


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    levels = np.array([[0, 257, 128 * 257, 255 * 257]], np.uint16)
    assert decode(encoded(levels))[0].tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]


def test_one_level_of_sixteen_bit_grey_is_transparent() -> None:
    levels = np.array([[0, 0x1233, 0x1234], [0x1234, 0x1235, 0xFFFF]], np.uint16)
    found = decode(encoded(levels, transparency=0x1234))
    assert found[..., 0].tolist() == [[0, 18, 255], [255, 18, 255]]
    assert (found == found[..., :1]).all()
    assert decode(encoded(levels))[..., 0].tolist() == [[0, 18, 18], [18, 18, 255]]


def test_sixteen_bit_colour_keeps_its_high_byte() -> None:
    pixel = struct.pack(">HHH", 0xFA00, 0x0A80, 0x14FF)
    assert decode(png(1, 1, depth=16, rows=b"\0" + pixel)).tolist() == [[[0xFA, 0x0A, 0x14]]]


def test_one_colour_of_sixteen_bits_is_transparent_if_all_of_its_bits_agree() -> None:
    key = (0x1234, 0x5678, 0x9ABC)
    pixels = [key, (0x1235, 0x5678, 0x9ABC), (0x1234, 0x5678, 0x9ABD), (0, 0, 0), (0xFF00, 0x5678, 0x9ABC)]
    rows = b"\0" + b"".join(struct.pack(">HHH", *pixel) for pixel in pixels)
    trns = b"tRNS" + struct.pack(">HHH", *key)
    extra = struct.pack(">I", 6) + trns + struct.pack(">I", zlib.crc32(trns))
    data = png(5, 1, depth=16, rows=rows, extra=extra)
    near = [0x12, 0x56, 0x9A]
    assert decode(data)[0].tolist() == [[255] * 3, near, near, [0] * 3, [0xFF, 0x56, 0x9A]]
    assert decode(png(5, 1, depth=16, rows=rows))[0].tolist() == [near, near, near, [0] * 3, [0xFF, 0x56, 0x9A]]
    assert decode(data, 5).shape == (5, 5, 3)


@pytest.mark.parametrize(("depth", "packed"), [(1, 0b01_000000), (2, 0b00_01_10_11), (4, 0x01)])
def test_one_level_of_few_bits_of_grey_is_transparent(depth: int, packed: int) -> None:
    """Transparency of a 2-bit image is stored in 2 bits, although Pillow expands the pixels to 8."""
    trns = b"tRNS\0\1"
    extra = struct.pack(">I", 2) + trns + struct.pack(">I", zlib.crc32(trns))
    width = min(4, 8 // depth)
    levels = [packed >> (8 - depth * (at + 1)) & (2**depth - 1) for at in range(width)]
    found = decode(png(width, 1, depth=depth, color=0, rows=bytes([0, packed]), extra=extra))
    assert found[0, :, 0].tolist() == [255 if level == 1 else level * 255 // (2**depth - 1) for level in levels]


def test_sixteen_bit_grey_with_alpha_is_composited_over_white() -> None:
    pixels = struct.pack(">HHHH", 0x4000, 0xFFFF, 0x4000, 0)
    assert decode(png(2, 1, depth=16, color=4, rows=b"\0" + pixels)).tolist() == [[[0x40] * 3, [255] * 3]]


def test_grey_and_black_and_white_become_three_channels() -> None:
    grey = np.array([[0, 100, 255]], np.uint8)
    assert decode(encoded(grey)).tolist() == [[[0] * 3, [100] * 3, [255] * 3]]
    assert decode(encoded(Image.fromarray(grey > 50))).tolist() == [[[0] * 3, [255] * 3, [255] * 3]]


def test_cmyk_is_read_with_and_without_inversion() -> None:
    """Adobe writes CMYK inverted and marks it by its APP14 segment; without the mark 255 is full ink."""
    inks = bytes([0, 255, 255, 0])  # magenta and yellow: red
    adobe = encoded(Image.frombytes("CMYK", (16, 16), inks * 256), "JPEG")
    inverted = encoded(Image.frombytes("CMYK", (16, 16), bytes(255 - ink for ink in inks) * 256), "JPEG")
    start = inverted.index(b"\xff\xee")
    length = int.from_bytes(inverted[start + 2 : start + 4], "big")
    assert b"Adobe" in adobe and b"Adobe" in inverted[start : start + 2 + length]
    unmarked = inverted[:start] + inverted[start + 2 + length :]
    for data in (adobe, unmarked):
        assert np.abs(decode(data)[8, 8].astype(int) - [255, 0, 0]).max() < 15
    assert np.abs(decode(inverted)[8, 8].astype(int) - [0, 0, 0]).max() < 15


def test_palettes_and_their_transparency() -> None:
    paletted = Image.fromarray(scene()).quantize(4)
    assert np.array_equal(decode(encoded(paletted)), scene())
    clear = paletted.getpixel((0, 0))
    expected = scene()
    expected[:24, :32] = 255
    assert np.array_equal(decode(encoded(paletted, transparency=clear)), expected)
    assert np.array_equal(decode(encoded(paletted, "GIF", transparency=clear)), expected)


def test_a_colour_key_is_transparent() -> None:
    expected = scene()
    expected[:24, :32] = 255
    assert np.array_equal(decode(encoded(scene(), transparency=(250, 10, 20))), expected)


def test_alpha_is_composited_over_white() -> None:
    layer = np.dstack([scene(), np.full((48, 64), 255, np.uint8)])
    layer[:24, :, 3], layer[24:, :, 3] = 0, 128
    found = decode(encoded(layer)).astype(int)
    assert (found[:24] == 255).all()
    assert np.abs(found[24:] - (scene()[24:] * 128.0 + 255 * 127) / 255).max() <= 1
    grey = np.dstack([np.full((4, 4), 60, np.uint8), np.full((4, 4), 51, np.uint8)])
    assert (decode(encoded(Image.fromarray(grey))) == 216).all()  # 60 * 0.2 + 255 * 0.8


STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera stores an upright scene for each EXIF orientation."""


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_photos_are_turned_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](scene()))
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}, "PNG": {}}[kind]
    data = encoded(stored, kind, exif=exif, **options)
    assert decode(data).shape == scene().shape
    assert np.abs(decode(data).astype(int) - scene()).max() <= 12
    corners = decode(data, 32)[[4, 4, 28, 28], [4, 28, 4, 28]].astype(int)
    assert np.abs(corners - COLORS.reshape(4, 3)).max() <= 12


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0MM\0*", b"Exif\0\0" + b"\xff" * 60, b"words", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"]
)
def test_damaged_exif_is_ignored(exif: bytes) -> None:
    assert (
        np.abs(decode(encoded(scene(), "JPEG", quality=95, subsampling=0, exif=exif)).astype(int) - scene()).max() <= 12
    )


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode(encoded(scene(), exif=exif)), scene())


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options))
    assert (found == (255, 0, 0)).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_photo_is_refused_not_half_decoded(kind: str, share: float) -> None:
    data = encoded(photo(160, 120), kind)
    assert code_of(data[: int(len(data) * share)], 64) in ("corrupt_image", "not_an_image")


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF"]),
)
def test_any_bytes_give_pixels_or_an_image_error(data: bytes, start: bytes) -> None:
    try:
        assert decode(start + data, 16).shape == (16, 16, 3)
    except ImageError as error:
        assert error.code in ("corrupt_image", "not_an_image", "too_large")


@given(st.data())
def test_a_damaged_photo_gives_pixels_or_an_image_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]))
    encoding = bytearray(encoded(scene(), kind))
    for _ in range(data.draw(st.integers(1, 10))):
        encoding[data.draw(st.integers(0, len(encoding) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode(bytes(encoding), 16).shape == (16, 16, 3)
    except ImageError as error:
        assert error.code in ("corrupt_image", "not_an_image", "too_large")


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICO", "PDF", "JPEG2000"])
def test_other_formats_are_not_taken(kind: str) -> None:
    assert code_of(encoded(scene(), kind)) == "not_an_image"


@pytest.mark.parametrize("data", [b"", b"words", b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\0" * 99])
def test_data_that_is_not_an_image_is_reported(data: bytes) -> None:
    assert code_of(data) == "not_an_image"


def test_sizes_are_checked_in_the_header_before_decoding() -> None:
    assert code_of(png(8001, 8000)) == "too_large"
    assert code_of(png(2**31 - 1, 2**31 - 1)) == "too_large"
    assert code_of(png(8000, 8000)) == "corrupt_image"  # within the cap, and there are no pixels
    bitmap = bytearray(encoded(scene(), "BMP"))
    bitmap[18:26] = struct.pack("<ii", 60_000, 60_000)
    assert code_of(bytes(bitmap)) == "too_large"


def test_too_many_bytes_are_not_parsed(tmp_path: Path) -> None:
    data = encoded(scene()) + b"\0" * images.MAX_BYTES
    assert code_of(data) == "too_large"
    (tmp_path / "large.png").write_bytes(data)
    assert code_of(tmp_path / "large.png") == "too_large"


def test_webp_has_a_lower_limit_because_its_decoder_needs_several_copies() -> None:
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "WEBP"))
    frame = data.index(b"\x9d\x01\x2a")  # VP8's start code; width and height follow (RFC 6386, 9.1)
    data[frame + 3 : frame + 7] = struct.pack("<HH", 8000, 8000)
    assert code_of(bytes(data)) == "too_large"


def test_a_jpeg_of_too_many_scans_is_refused() -> None:
    data = encoded(photo(64, 64), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert decode(data[:-2] + scan * 50 + data[-2:]).shape == (64, 64, 3)
    assert code_of(data[:-2] + scan * 100 + data[-2:]) == "too_large"


def test_a_text_bomb_in_a_png_is_refused() -> None:
    text = zlib.compress(b"\0" * 50_000_000)
    body = b"zTXt" + b"Comment\0\0" + text
    extra = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    assert code_of(png(1, 1, rows=b"\0abc", extra=extra)) == "corrupt_image"


def test_scaling_is_pillows_bilinear_with_antialiasing() -> None:
    picture = photo(300, 200)
    expected = np.asarray(Image.fromarray(picture).resize((96, 96), Image.Resampling.BILINEAR))
    assert np.array_equal(decode(encoded(picture), 96), expected)
    wide = np.asarray(Image.fromarray(picture).resize((120, 40), Image.Resampling.BILINEAR))
    assert np.array_equal(decode(encoded(picture), (120, 40)), wide)


def test_stripes_average_instead_of_aliasing() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 254
    assert np.abs(decode(encoded(stripes), 32)[4:-4, 4:-4].astype(int) - 127).max() <= 2


@pytest.mark.parametrize("target", [96, 150, 224])
def test_a_jpeg_in_draft_mode_looks_like_a_fully_decoded_one(target: int) -> None:
    data = encoded(photo(1600, 1200), "JPEG", quality=92)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB").resize((target, target), Image.Resampling.BILINEAR)).astype(int)
    difference = np.abs(decode(data, target).astype(int) - expected)
    assert difference.mean() < 1 and difference.max() <= 16


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_picture_is_shrunk_in_strips_to_nearly_the_same(
    orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    layer = np.dstack([photo(700, 450), np.full((450, 700), 200, np.uint8)])
    data = encoded(layer, exif=exif)
    expected = decode(data, 64).astype(int)
    monkeypatch.setattr(images, "_STRIP", 5_000)
    assert np.array_equal(decode(data, 64), expected)  # strips alone change nothing
    monkeypatch.setattr(images, "_LARGE", 100_000)
    difference = np.abs(decode(data, 64).astype(int) - expected)
    assert difference.mean() < 1 and difference.max() <= 16 and difference.max() > 0


def test_large_images_are_decoded_one_at_a_time_and_others_in_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_ORDINARY", 150_000)
    free = [encoded(photo(90, 90)), encoded(photo(200, 200), "JPEG")]
    costly = [encoded(photo(200, 200)), encoded(photo(200, 200), "JPEG", progressive=True)]
    done: list[int] = []
    threads = [threading.Thread(target=lambda data=data: done.append(len(decode(data, 32)))) for data in costly]
    with images._ONE_AT_A_TIME:
        for data in free:
            assert decode(data, 32).shape == (32, 32, 3)
        for thread in threads:
            thread.start()
            thread.join(0.1)
        assert done == []
    for thread in threads:
        thread.join()
    assert done == [32, 32]


@skips.linux
def test_the_memory_of_a_large_image_is_released(tmp_path: Path) -> None:
    """In a thread, and twice, for only then would the C library keep it."""
    code = """if True:
        import sys, threading
        from pathlib import Path
        from headstand.images import decode
        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
        data = Path(sys.argv[1]).read_bytes()
        wait, done = threading.Semaphore(0), threading.Semaphore(0)
        def work():
            for _ in range(2):
                decode(data, 32)
            done.release()
            wait.acquire()
        before = resident()
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
            done.acquire()
        print(resident() - before)
        wait.release(3)
    """
    path = tmp_path / "large.png"
    Image.new("RGBA", (3000, 3000)).save(path)
    found = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert float(found.stdout) < 60, found.stdout + found.stderr  # a picture takes 36 MB: without care, 190 stay


def test_a_colour_profile_is_ignored() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode(encoded(scene(), icc_profile=profile)), scene())


def test_the_preprocessor_is_that_of_keras_image_helper_with_the_resize_of_the_decoder() -> None:
    preprocessor = Preprocessor((32, 24))
    assert isinstance(preprocessor, BasePreprocessor)
    tensor = preprocessor.convert_to_tensor(Image.fromarray(photo(200, 100)))
    assert tensor.shape == (1, 24, 32, 3) and tensor.dtype == np.float32
    assert np.array_equal(tensor[0].astype(np.uint8), decode(encoded(photo(200, 100)), (32, 24)))


@skips.unix
def test_a_fresh_process_knows_every_format(tmp_path: Path) -> None:
    """Pillow loads its readers one by one; an order that hides one shows only in a process that has decoded nothing."""
    code = """if True:
        import os, sys
        from headstand.images import decode
        for path in sys.argv[1:]:
            if not (child := os.fork()):
                print(decode(path).shape, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
    """
    kinds = ("WEBP", "GIF", "BMP", "PNG", "JPEG")
    for kind in kinds:
        (tmp_path / kind).write_bytes(encoded(scene(), kind))
    command = [sys.executable, "-c", code, *(str(tmp_path / kind) for kind in kinds)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.stdout == "(48, 64, 3)\n" * len(kinds), found.stderr


@pytest.mark.parametrize("orientation", range(1, 9))
def test_dimensions_are_those_of_the_decoded_picture(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(64, 48), "JPEG", exif=exif)
    height, width = decode(data).shape[:2]
    assert images.dimensions(data) == (width, height) == ((64, 48) if orientation < 5 else (48, 64))
