import contextlib
import io
import json
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from headstand import images
from headstand.errors import ImageError
from headstand.images import decode, encoded
from headstand.images.encoded import open_image
from tests import bombs, skips

ROOT = Path(__file__).parents[2]

CEILING = encoded.MAX_MEMORY // 10**6
"""Megabytes that decoding one image may take: what docs/threat-model.md states."""

ORDINARY = images._ORDINARY // 10**6
"""Megabytes that it may take if other threads decode at the same time."""

KILLED = 1500
"""Megabytes at which a process that decodes is killed: libraries, a bomb of 20 MB and its decoding take 700."""

SECONDS = 20
"""Of processor time, far above what any bomb takes: about three on a slow core."""


def measured(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Decode bombs in a process of their own, which is killed if it takes much more than any of them may."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip(f"{skips.PLATFORM}memory is read from /proc")
    command = [sys.executable, "-m", "tests.bombs", *names]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        watched, killed = psutil.Process(process.pid), threading.Event()

        def watch() -> None:
            while not killed.wait(0.05) and process.poll() is None:
                with contextlib.suppress(psutil.Error):
                    if watched.memory_info().rss > KILLED * 1e6:
                        process.kill()

        watcher = threading.Thread(target=watch)
        watcher.start()
        out, errors = process.communicate(timeout=900)
        killed.set()
        watcher.join()
    rows = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0, f"after {[row['name'] for row in rows][-1:]}: {errors[-2000:]}"
    return {row["name"]: row for row in rows}


def check(name: str, row: dict[str, Any], ceiling: float = CEILING) -> None:
    assert row["outcome"] == bombs.BOMBS[name][0], name
    assert row["megabytes"] < ceiling and row["seconds"] < SECONDS, (name, row)


# One test for all, because each test process would measure them again.
def test_bombs_are_refused_or_decoded_within_the_ceilings() -> None:
    for name, row in measured(bombs.CHEAP).items():
        check(name, row)


@pytest.mark.slow
def test_costly_bombs_stay_within_the_ceilings() -> None:
    for name, row in measured(bombs.COSTLY).items():
        check(name, row)


@pytest.mark.slow
def test_what_threads_decode_side_by_side_takes_little() -> None:
    for name, row in measured(bombs.ORDINARY).items():
        check(name, row, ORDINARY)


def code_of(data: bytes, size: int = 16) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, size)
    return caught.value.code


def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8))


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


def check_estimates(rows: dict[str, dict[str, Any]]) -> None:
    """What is decoded stays below its estimate, and that below the limit; what is refused is above the limit."""
    for name, row in rows.items():
        needed = row["estimate"] and row["estimate"] / 1e6
        if row["outcome"] == "decoded":
            assert needed <= CEILING, name
            # A twentieth and 8 MB for what is the same for all images: tables, rows, the model's input.
            assert row["megabytes"] <= needed * 1.05 + 8, (name, row)
            assert needed <= row["megabytes"] * 2 + 24, (name, row)
        else:
            assert row["outcome"] == "too_large", (name, row)
            assert needed is None or needed > CEILING, (name, row)
            assert row["megabytes"] <= CEILING, (name, row)


def test_memory_is_estimated_for_each_format_mode_and_kind_of_scans() -> None:
    rows = measured(f"{name}, 1500" for name in bombs.SMALL)
    assert len(rows) == len(bombs.SMALL) and {row["outcome"] for row in rows.values()} == {"decoded"}
    check_estimates(rows)


@pytest.mark.slow
@pytest.mark.parametrize("side", [1500, 4000, 6000])
def test_memory_stays_within_the_estimates_and_the_limit_over_the_whole_grid(side: int) -> None:
    rows = measured(name for name in bombs.GRID if name.endswith(f", {side}"))
    assert len(rows) >= 80
    check_estimates(rows)
    refused = {name for name, row in rows.items() if row["outcome"] != "decoded"}
    assert (len(refused) > 5) == (side == 6000)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_that_decode_the_largest_images_side_by_side_stay_within_one_large_and_their_ordinary_ones(
    threads: int,
) -> None:
    [row] = measured([f"side by side, {threads}"]).values()
    assert row["outcome"] == "decoded" and row["megabytes"] <= CEILING + (threads - 1) * ORDINARY


def test_the_coefficients_of_several_scans_are_counted_exactly() -> None:
    """128 bytes for each block of 8 by 8, in whole MCUs (ITU T.81, A.2), and none for a single scan."""
    three = bombs.FULL[:3]
    cases: list[tuple[Any, ...]] = [
        ((800, 600, three), 0),
        ((800, 600, three, None, 0xC9), 0),
        ((800, 600, three, [(0,), (1, 2)]), 100 * 75 * 3 * 128),
        ((800, 600, three, None, 0xC2), 100 * 75 * 3 * 128),
        ((800, 600, three, None, 0xCA), 100 * 75 * 3 * 128),
        ((800, 600, bombs.FULL, bombs.SEPARATE), 100 * 75 * 4 * 128),
        ((801, 601, bombs.FULL, bombs.SEPARATE), 101 * 76 * 4 * 128),
        ((801, 601, ((2, 2), (1, 1), (1, 1)), None, 0xC2), 51 * 38 * 6 * 128),
        ((801, 601, ((4, 1), (1, 1), (1, 1)), None, 0xC2), 26 * 76 * 6 * 128),
        ((801, 601, ((1, 1),), None, 0xC2), 101 * 76 * 128),
        ((65_496, 895, bombs.FULL, bombs.SEPARATE), 8187 * 112 * 4 * 128),
    ]
    for arguments, expected in cases:
        assert encoded._jpeg(bombs.blocks(*arguments))[0] == expected, arguments


def test_an_image_may_take_400_megabytes_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bombs.blocks(800, 600, bombs.FULL, bombs.SEPARATE)
    needed = bombs.estimate(data, 64)
    assert needed
    monkeypatch.setattr(encoded, "MAX_MEMORY", needed)
    assert decode(data, 64).shape == (64, 64, 3)
    monkeypatch.setattr(encoded, "MAX_MEMORY", needed - 1)
    assert code_of(data, 64) == "too_large"
    monkeypatch.setattr(encoded, "MAX_MEMORY", encoded._jpeg(data)[0] - 1)
    with pytest.raises(ImageError, match=r"takes about 3 MB .* in one scan"):  # also where nothing is decoded
        encoded.dimensions(data)


@pytest.mark.parametrize(
    ("data", "share"),
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
    ],
)
def test_costly_kinds_may_have_fewer_pixels(data: bytes, share: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_image(data) as image:
        assert encoded.max_pixels(image) == encoded.MAX_PIXELS // share
        pixels = image.width * image.height
    monkeypatch.setattr(encoded, "MAX_PIXELS", pixels * share)
    assert decode(data, 16).shape == (16, 16, 3)
    monkeypatch.setattr(encoded, "MAX_PIXELS", pixels * share - 1)
    assert code_of(data) == "too_large"


VIDEO = np.random.default_rng(7).bytes(7 * 2**20)
"""As the video of a motion photo: by chance it holds a hundred start-of-scan markers."""


@pytest.mark.parametrize("progressive", [False, True])
def test_a_motion_photo_s_video_has_no_scans(progressive: bool) -> None:
    """4032 x 3024 with a video of 7 MB behind it was refused for the markers in the video."""
    assert VIDEO.count(b"\xff\xda") > 60
    photo_ = bombs.plain("RGB", "JPEG", 4032, 3024, progressive=progressive)
    assert np.array_equal(decode(photo_ + VIDEO, 64), decode(photo_, 64))


def test_only_the_scans_of_the_first_image_count() -> None:
    """Not those of previews in its segments, of the images behind it (MPO), or of what looks like them in its data."""
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0"
    progressive = bombs.blocks(64, 64, frame=0xC2)
    for data in (
        progressive + progressive * 200,
        progressive + b"\xff\xd8" + scan * 200,
        progressive[:2] + bombs.segment(0xE1, b"Exif\0\0" + scan * 200) + progressive[2:],
        progressive[:2] + bombs.segment(0xFE, b"\xff\xd9" + scan * 200) + progressive[2:],
        progressive[:2] + bombs.segment(0xE2, b"MPF\0" + progressive * 20) + progressive[2:] + progressive * 100,
    ):
        assert encoded._scans(data) == 1
        assert decode(data, 16).shape == (16, 16, 3)
    # Fill bytes, restart markers and stuffed zeros are no end of the image.
    hidden = progressive[:-2] + (b"\xff\0\xff\xd0\xff\xff\xff" + scan[1:] + b"\0") * 150 + progressive[-2:]
    assert encoded._scans(hidden) == 151 and code_of(hidden) == "too_large"


def test_segments_between_scans_are_limited() -> None:
    progressive = bombs.blocks(64, 64, frame=0xC2)
    assert code_of(progressive[:-2] + bombs.segment(0xFE, b"") * 10_001) == "too_large"


def test_warnings_of_other_code_are_kept_while_threads_decode() -> None:
    """`warnings.catch_warnings` in threads left "ignore" for the whole process."""
    before = list(warnings.filters)
    data = [bombs.encoded(photo(), "JPEG"), bombs.jpeg(bombs.segment(0xE1, b"Exif\0\0" + b"MM\0*\0\0\0\x08\xff"))]
    threads = [threading.Thread(target=lambda at=at: [decode(data[at % 2], 16) for _ in range(20)]) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="of other code"):
        warnings.warn("of other code", UserWarning, stacklevel=1)


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


@pytest.mark.parametrize("kind", ["ICO", "PPM", "TGA", "PDF", "EPS", "ICNS", "JPEG2000", "PCX", "SGI", "DDS"])
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
