"""AVIF, HEIC and TIFF, which are decoded in a process of their own."""

import io
import json
import subprocess
import sys
import threading
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pillow_heif import as_plugin

from headstand import images
from headstand.errors import ImageError
from headstand.images import decode, encoded, isolated
from headstand.images.encoded import open_image
from tests import skips
from tests.images.test_images import COLORS, STORED, code_of, photo, scene

ROOT = Path(__file__).parents[2]


def file_of(picture: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    """An encoded picture; HEIC is not lossless, not even at the highest quality."""
    stream = io.BytesIO()
    result = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    if kind == "HEIC":
        result.encoderinfo = {"quality": 90, "chroma": "444"}
        result.info |= options
        as_plugin._save_heif(result, stream, "")  # without registering it for the rest of the tests
    else:
        defaults = {"quality": 95, "subsampling": "4:4:4"} if kind == "AVIF" else {}
        result.save(stream, kind, **{**defaults, **options})
    return stream.getvalue()


SMALL = {kind: file_of(photo(64, 48), kind) for kind in isolated.MODULES}
SMALL["TIFF"] = file_of(photo(64, 48), "TIFF", compression="tiff_lzw")


def decoders() -> list[psutil.Process]:
    """The running processes that decode, without those of other tests, such as multiprocessing's resource tracker."""
    return [child for child in psutil.Process().children() if str(isolated._DECODER) in child.cmdline()]


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found.astype(int) - expected).mean())


@pytest.mark.parametrize(("kind", "most"), [("AVIF", 3), ("HEIC", 5), ("TIFF", 0)])
def test_a_picture_is_decoded_closely(kind: str, most: float) -> None:
    found = decode(file_of(photo(160, 120), kind))
    assert found.dtype == np.uint8 and found.shape == (120, 160, 3)
    assert difference(found, photo(160, 120)) <= most
    assert images.dimensions(file_of(photo(160, 120), kind)) == (160, 120)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("AVIF", {}), ("AVIF", {"subsampling": "4:2:0"}), ("AVIF", {"range": "limited"}),
     ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_adobe_deflate"}),
     ("TIFF", {"compression": "packbits"}), ("TIFF", {"compression": "jpeg"})],
)  # fmt: skip
def test_opencv_decodes_the_same_pixels(kind: str, options: dict[str, Any]) -> None:
    data = file_of(photo(160, 120), kind, **options)
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert other is not None
    found = decode(data)
    assert difference(found, cv2.cvtColor(other, cv2.COLOR_BGR2RGB)) < 1


# Of HEIC and TIFF only three orientations, because their decoders turn the pixels themselves.
@pytest.mark.parametrize(
    ("kind", "orientation"), [*(("AVIF", turn) for turn in STORED), *product(("HEIC", "TIFF"), (2, 6, 7))]
)
def test_photos_are_turned_upright(kind: str, orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](scene())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_of(stored, kind, exif=exif.tobytes())
    corners = decode(data, 32)[[4, 4, 28, 28], [4, 28, 4, 28]].astype(int)
    assert np.abs(corners - COLORS.reshape(4, 3)).max() <= 12
    if orientation in (2, 6):  # one that keeps width and height, and one that swaps them
        found = decode(data)
        assert images.dimensions(data) == (64, 48) and found.shape == (48, 64, 3)
        assert difference(found, scene()) <= 3


@pytest.mark.parametrize("kind", isolated.MODULES)
def test_alpha_is_composited_over_white(kind: str) -> None:
    layer = np.dstack([scene(), np.full((48, 64), 255, np.uint8)])
    layer[:24, :, 3] = 0
    found = decode(file_of(layer, kind))
    assert difference(found[:24], np.full((24, 64, 3), 255)) <= 2
    assert difference(found[24:], scene()[24:]) <= 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "CMYK", "YCbCr"])
def test_modes_of_tiff(mode: str) -> None:
    grey = np.repeat(np.array([0, 100, 255], np.uint8), 8)[None].repeat(8, axis=0)
    picture = Image.fromarray(grey).convert("RGB" if mode in ("CMYK", "YCbCr") else "L")
    found = decode(file_of(picture.convert(mode), "TIFF"))
    assert found.shape == (8, 24, 3) and (found == found[..., :1]).all()
    middle = {"1": picture.convert("1").convert("L").getpixel((10, 3))}.get(mode, 100)
    assert found[3, [3, 10, 20], 0].tolist() == [0, middle, 255]


def test_sixteen_bits_of_tiff_are_scaled_not_clipped() -> None:
    levels = np.array([[0, 257, 128 * 257, 255 * 257]], np.uint16)
    for order in ("<", ">"):
        data = file_of(Image.fromarray(levels.astype(f"{order}u2")), "TIFF")
        assert decode(data)[0].tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]
    large = file_of(Image.fromarray(np.full((300, 400), 40 * 257, np.uint16)), "TIFF")
    assert (decode(large, 16) == 40).all()


@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_more_than_eight_bits(kind: str) -> None:
    levels = np.linspace(0, 65535, 64).astype(np.uint16)[None, :, None].repeat(48, 0).repeat(3, 2)
    stream = io.BytesIO()
    if kind == "HEIC":
        heif = pillow_heif.from_bytes("RGB;16", (64, 48), levels.tobytes())
        heif.save(stream, quality=90, chroma="444")
        data = stream.getvalue()
    else:
        done, array = cv2.imencode(".avif", levels // 64, [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_QUALITY, 95])
        assert done
        data = array.tobytes()
    assert difference(decode(data), (levels / 257).round().astype(np.uint8)) <= 3


@pytest.mark.parametrize("kind", ["AVIF", "TIFF"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    data = file_of(frames[0], kind, save_all=True, append_images=frames[1:])
    assert difference(decode(data), np.array([255, 0, 0])) < 3
    with open_image(data) as image:
        assert getattr(image, "is_animated", False) == (kind == "AVIF")


@pytest.mark.parametrize("kind", isolated.MODULES)
def test_a_large_picture_is_reduced_before_it_is_transferred(kind: str) -> None:
    data = file_of(photo(400, 300), kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
    expected = np.asarray(Image.fromarray(decode(data)).resize((32, 32), Image.Resampling.BILINEAR))
    assert difference(decode(data, 32), expected) < 2  # the last column of blocks is not whole
    with open_image(data) as image:
        image.draft(None, (64, 64))
        assert image.size == (67, 75) and image.convert("RGB").size == (67, 75)


@pytest.mark.parametrize("kind", isolated.MODULES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_photo_is_refused_not_half_decoded(kind: str, share: float) -> None:
    data = file_of(photo(160, 120), kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
    assert code_of(data[: int(len(data) * share)], 64) in ("corrupt_image", "not_an_image")


def tiff(**tags: Any) -> bytes:
    """A TIFF file of 16 x 16 pixels with these values of tags."""
    return file_of(Image.new("RGB", (16, 16)), "TIFF", tiffinfo={int(key[1:]): value for key, value in tags.items()})


@pytest.mark.parametrize(
    ("data", "reason"),
    [(tiff(t50706=b"\1\4\0\0"), "it is a camera's raw file"), (tiff(t254=1), "it is a camera's raw file"),
     (file_of(Image.new("1", (64, 64)), "TIFF", compression="group4"), "compression 4"),
     (file_of(Image.new("RGB", (64, 64)), "TIFF", compression="zstd"), "compression 50000"),
     (file_of(Image.new("F", (64, 64)), "TIFF"), "mode F"), (file_of(Image.new("LAB", (9, 9)), "TIFF"), "mode LAB")],
)  # fmt: skip
def test_other_contents_of_tiff_are_refused_by_name(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        decode(data, 16)
    assert caught.value.code == "not_an_image"


def test_sizes_are_checked_in_the_header_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "MAX_PIXELS", 64 * 48)
    for data in SMALL.values():
        assert decode(data, 16).shape == (16, 16, 3)
    monkeypatch.setattr(encoded, "MAX_PIXELS", 64 * 48 - 1)
    for data in SMALL.values():
        assert code_of(data, 16) == "too_large"
    assert not decoders()


def test_the_memory_of_a_pixel_limits_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    for data in SMALL.values():
        with open_image(data) as image:
            assert isinstance(image, isolated.IsolatedImage)
            needed = image.needed
            assert encoded.memory(image, data)[1] == needed > isolated.PER_PIXEL[str(image.format)] * 64 * 48
        monkeypatch.setattr(encoded, "MAX_MEMORY", needed - 1)
        with pytest.raises(ImageError, match="of memory to decode"):
            open_image(data)
        monkeypatch.undo()


def stretched(kind: str, width: int, height: int) -> bytes:
    """A file of 64 x 48 pixels whose header states another size: box `ispe` (ISO 23008-12), tags 256 and 257."""
    if kind == "TIFF":
        data = bytearray(file_of(photo(64, 48), kind))
        for tag, value in ((256, width), (257, height)):
            at = data.index(tag.to_bytes(2, "little") + b"\4\0")
            data[at + 8 : at + 12] = value.to_bytes(4, "little")
        return bytes(data)
    whole = SMALL[kind]
    old = b"ispe" + bytes(4) + (64).to_bytes(4, "big") + (48).to_bytes(4, "big")
    assert old in whole or kind == "HEIC"
    if old not in whole:  # HEVC's blocks of 64 pixels, cropped
        old = b"ispe" + bytes(4) + (64).to_bytes(4, "big") + (64).to_bytes(4, "big")
    return whole.replace(old, old[:8] + width.to_bytes(4, "big") + height.to_bytes(4, "big"))


@pytest.mark.parametrize("kind", isolated.MODULES)
@pytest.mark.parametrize(("width", "height"), [(5000, 4000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_header_that_states_another_size_is_refused(kind: str, width: int, height: int) -> None:
    try:
        decode(stretched(kind, width, height), 16)
    except ImageError as error:
        assert error.code in ("corrupt_image", "too_large")
    else:  # libheif prefers the size that the bitstream states
        assert kind == "HEIC"


BOMBS = {
    "avif, flat": lambda: file_of(Image.new("RGB", (4500, 4000)), "AVIF", speed=10, subsampling="4:2:0"),
    "heic, many tags": lambda: SMALL["HEIC"] + b"\0\0\0\x08free" * 100_000,
    "tiff, flat": lambda: file_of(Image.new("RGBA", (5000, 4000)), "TIFF", compression="tiff_adobe_deflate"),
    "tiff, 16 bits": lambda: file_of(Image.new("I;16", (5000, 4000)), "TIFF", compression="tiff_lzw"),
    "tiff, one strip of much": lambda: file_of(
        Image.new("L", (60_000, 500)), "TIFF", compression="tiff_adobe_deflate", strip_size=2**30
    ),
}


@skips.linux
def test_bombs_take_no_more_memory_than_the_limit(tmp_path: Path) -> None:
    """Pixels of 18 to 30 million, within the limits: the processes together stay below the limit of one image."""
    code = """if True:
        import json, resource, sys
        from pathlib import Path
        from headstand.images import ImageError, decode
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for path in sys.argv[1:]:
            try:
                outcome = "decoded" if decode(Path(path), 224).shape == (224, 224, 3) else "misshapen"
            except ImageError as error:
                outcome = error.code
            own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # the highest so far
            print(json.dumps([outcome, (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1000]))
    """
    for name, make in BOMBS.items():
        (tmp_path / name).write_bytes(make())
    command = [sys.executable, "-c", code, *(str(tmp_path / name) for name in BOMBS)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    for name, (outcome, megabytes) in zip(BOMBS, rows, strict=True):
        assert outcome == "decoded" and megabytes < encoded.MAX_MEMORY / 1e6, (name, megabytes)


def replaced(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    """Lets the process run `body`, with its limits, in place of a decoder."""
    script = folder / "isolated_decoder.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(isolated._DECODER.parent)!r})\nimport os, isolated_decoder\n"
        f"def decoder(file):\n    {body}\nisolated_decoder._plugin = lambda kind: decoder\nisolated_decoder.main()\n"
    )
    monkeypatch.setattr(isolated, "_DECODER", script)


@skips.unix
@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ("while True: pass", "too_large", "more processor time"),
        ("os.abort()", "corrupt_image", "is damaged, or takes more memory"),
        ("os._exit(0)", "corrupt_image", "is damaged"),
        ("raise MemoryError", "too_large", "more memory to decode than is allowed"),
        ("raise KeyError('a' * 200 + chr(10) + 'b')", "corrupt_image", "cut short ('aaaa"),
        ("raise isolated_decoder.RefusedError('not_an_image', str(sorted(os.environ)))", "not_an_image", ""),
    ],
)
def test_a_decoder_that_fails_harms_nothing(
    body: str, code: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "SECONDS", 1)
    monkeypatch.setenv("HEADSTAND_SECRET", "a")
    replaced(monkeypatch, tmp_path, body)
    with pytest.raises(ImageError) as caught:
        decode(SMALL["TIFF"], 16)
    assert caught.value.code == code and text in str(caught.value) and len(str(caught.value)) < 300
    assert "SECRET" not in str(caught.value) and "\n" not in str(caught.value)
    assert not decoders()


@skips.linux
def test_the_memory_of_a_decoder_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced(monkeypatch, tmp_path, "bytearray(70_000_000)")
    assert code_of(SMALL["TIFF"], 16) == "too_large"


@skips.unix
def test_a_process_ends_with_its_image() -> None:
    before = psutil.Process().num_fds()
    for data in SMALL.values():
        decode(data, 16)
        images.dimensions(data)
        with open_image(data):
            assert len(decoders()) == 1
    assert not decoders() and psutil.Process().num_fds() == before


def test_threads_decode_side_by_side() -> None:
    found: list[tuple[str, np.ndarray]] = []
    threads = [
        threading.Thread(target=lambda kind=kind, data=data: found.append((kind, decode(data, 16))))
        for kind, data in [*SMALL.items()] * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and all(np.array_equal(pixels, decode(SMALL[kind], 16)) for kind, pixels in found)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(SMALL[draw(st.sampled_from(sorted(SMALL)))])
    for _ in range(draw(st.integers(1, 6))):
        # The structure is at the start, for TIFF also at the end.
        at = draw(st.integers(0, len(data) - 1) | st.integers(0, 400) | st.integers(len(data) - 200, len(data) - 1))
        match draw(st.sampled_from(("set", "high", "cut", "repeat"))):
            case "set":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
            case "high":
                data[at : at + 4] = b"\xff\xff\xff\xff"
            case "cut":
                del data[at : at + draw(st.integers(1, 40))]
            case "repeat":
                data[at:at] = data[at : at + 40] * draw(st.integers(1, 50))
    return bytes(data)


def gives_pixels_or_an_error(data: bytes) -> None:
    try:
        assert decode(data, 16).shape == (16, 16, 3)
    except ImageError as error:
        assert error.code in ("corrupt_image", "not_an_image", "too_large")
        assert str(error) and "\n" not in str(error) and len(str(error)) < 300


@given(damaged())
@settings(max_examples=20, deadline=None)
def test_a_damaged_file_gives_pixels_or_an_image_error(data: bytes) -> None:
    gives_pixels_or_an_error(data)


@pytest.mark.slow
@given(damaged())
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_thousand_damaged_files_give_pixels_or_an_image_error(data: bytes) -> None:
    gives_pixels_or_an_error(data)
