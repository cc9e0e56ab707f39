import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headstand.images import _TURNS, ImageError
from headstand.preparation.sources import crop
from headstand.preparation.sources.crop import OTHER_SIZE, OUTSIDE, crops
from headstand.preparation.sources.voc import Box
from tests.preparation.photos import encoded, picture

WIDTH, HEIGHT = 100, 80
PHOTO = np.asarray(picture(1, (WIDTH, HEIGHT)))


def png(pixels: np.ndarray, orientation: int = 1) -> bytes:
    exif, data = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(data, "PNG", exif=exif)
    return data.getvalue()


def one(
    pixels: np.ndarray, box: Box, size: int, declared: tuple[int, int] | None = None, orientation: int = 1
) -> np.ndarray:
    (result,) = crops(png(pixels, orientation), [box], size, declared)
    assert isinstance(result, np.ndarray), result
    return result


@pytest.mark.parametrize(
    ("box", "x", "y", "side"),
    [
        (Box(20, 30, 60, 70), 20, 30, 40),  # a square is cut as it is
        (Box(20, 30, 60, 40), 20, 15, 40),  # a wide one grows equally up and down
        (Box(50, 10, 60, 50), 35, 10, 40),  # a tall one to both sides
        (Box(20, 0, 60, 10), 20, 0, 40),  # at the top only down
        (Box(90, 10, 100, 50), 60, 10, 40),  # at the right only to the left
        (Box(-30, -20, 10, 10), 0, 0, 10),  # what lies outside does not count
        (Box(70, 60, 500, 900), 70, 50, 30),
        (Box(19.6, 30.4, 60.4, 69.6), 20, 30, 40),  # to the nearest pixel
    ],
)
def test_the_square_around_a_box_is_taken_from_the_photo(box, x, y, side):
    assert np.array_equal(one(PHOTO, box, side), PHOTO[y : y + side, x : x + side])


@pytest.mark.parametrize(
    ("box", "above"), [(Box(0, 0, 100, 80), 10), (Box(0, 20, 100, 40), 20), (Box(-9, 75, 999, 999), 0)]
)
def test_a_narrow_photo_is_padded_with_its_edge(box, above):
    result = one(PHOTO, box, 100)
    assert np.array_equal(result[above : above + 80], PHOTO)
    assert (result[:above] == PHOTO[0]).all() and (result[above + 80 :] == PHOTO[-1]).all()


def test_tall_photos_are_padded_too():
    result = one(PHOTO.transpose(1, 0, 2), Box(0, 0, 80, 100), 100)
    assert np.array_equal(result[:, 10:90], PHOTO.transpose(1, 0, 2))
    assert (result[:, :10] == result[:, 10:11]).all() and (result[:, 90:] == result[:, 89:90]).all()


@pytest.mark.parametrize("box", [Box(10, 20, 50, 40), Box(0, 0, 100, 50), Box(0, 0, 20, 80)])
def test_proportions_are_kept(box):
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = 255
    pixels[:, [0, -1]] = pixels[[0, -1]] = 0  # so that nothing white is repeated
    result = one(pixels, box, 299)[..., 0] > 127
    rows, columns = result.any(1).sum(), result.any(0).sum()
    long_side = max(box.right - box.left, box.bottom - box.top)
    inner = pixels[..., 0] > 0
    assert columns == pytest.approx(inner.any(0).sum() * 299 / long_side, abs=2)
    assert rows == pytest.approx(inner.any(1).sum() * 299 / long_side, abs=2)


def test_downscaling_averages_pixels():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[::2, ::2] = pixels[1::2, 1::2] = 255
    assert abs(one(pixels, Box(0, 0, 64, 64), 8).astype(int) - 127).max() <= 3


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels that a camera stores for an upright picture."""
    back = {6: 8, 8: 6}.get(orientation, orientation)
    return upright if orientation == 1 else np.asarray(Image.fromarray(upright).transpose(_TURNS[back]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_count_stored_pixels_and_crops_are_upright(orientation):
    pixels = PHOTO.copy()
    pixels[50:60, 10:50] = (255, 0, 0)
    pixels[50:55, 10:30] = (255, 0, 1)  # its upper left quarter
    image = stored(pixels, orientation)
    y, x = np.nonzero((image[..., 0] == 255) & (image[..., 1] == 0) & (image[..., 2] <= 1))
    box = Box(x.min(), y.min(), x.max() + 1, y.max() + 1)
    assert np.array_equal(one(image, box, 40, orientation=orientation), pixels[35:75, 10:50])
    height, width = image.shape[:2]
    assert np.array_equal(one(image, box, 40, (width, height), orientation), pixels[35:75, 10:50])


@pytest.mark.parametrize("orientation", range(5, 9))
def test_boxes_of_the_upright_photo_are_recognised(orientation):
    result = one(stored(PHOTO, orientation), Box(10, 50, 50, 60), 40, (WIDTH, HEIGHT), orientation)
    assert np.array_equal(result, PHOTO[35:75, 10:50])
    half = one(stored(PHOTO, orientation), Box(5, 25, 25, 30), 40, (WIDTH // 2, HEIGHT // 2), orientation)
    assert np.array_equal(half, result)


def test_the_orientation_of_an_almost_square_photo_follows_its_exact_size():
    pixels = np.asarray(picture(2, (41, 40)))
    box = Box(0, 0, 20, 20)
    assert np.array_equal(one(stored(pixels, 6), box, 20, (41, 40), 6), pixels[:20, :20])
    assert np.array_equal(one(stored(pixels, 6), box, 20, (40, 41), 6), pixels[:20, 21:])


def test_boxes_of_a_larger_or_smaller_copy_are_scaled():
    expected = one(PHOTO, Box(20, 30, 60, 70), 40)
    assert np.array_equal(one(PHOTO, Box(100, 150, 300, 350), 40, (500, 400)), expected)
    assert np.array_equal(one(PHOTO, Box(6, 9, 18, 21), 40, (30, 24)), expected)
    assert np.array_equal(one(PHOTO, Box(20, 30, 60, 70), 40, (100, 79)), one(PHOTO, Box(20, 30.4, 60, 70.9), 40))


@pytest.mark.parametrize("declared", [(80, 100), (100, 50), (500, 500)])
def test_boxes_of_another_picture_are_not_guessed(declared):
    assert crops(png(PHOTO), [Box(1, 1, 5, 5)], 20, declared) == [OTHER_SIZE]


@pytest.mark.parametrize(
    "box", [Box(100, 10, 120, 20), Box(-20, 10, 0, 20), Box(10, 80, 20, 99), Box(3, 3, 3.3, 9), Box(5e8, 1, 9e8, 2)]
)
def test_a_box_outside_the_photo_is_reported(box):
    result = crops(png(PHOTO), [Box(0, 0, 40, 40), box], 40, None)
    assert np.array_equal(result[0], PHOTO[:40, :40])
    assert result[1] == OUTSIDE


def test_a_long_strip_needs_little_memory():
    data = png(np.full((2, 20_000, 3), 90, np.uint8))
    tracemalloc.start()
    try:
        (result,) = crops(data, [Box(0, 0, 20_000, 2)], 64, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.shape == (64, 64, 3) and (result == 90).all()
    assert peak < 10_000_000


def test_a_damaged_photo_is_reported():
    with pytest.raises(ImageError):
        crops(encoded(picture(1))[:900], [Box(0, 0, 9, 9)], 20, None)


edge = st.floats(-50, 150)


@given(st.tuples(edge, edge, edge, edge), st.integers(1, 9), st.integers(1, 9), st.integers(1, 40))
def test_any_box_gives_a_square_or_a_reason(edges, width, height, size):
    left, right, top, bottom = min(edges[:2]), max(edges[:2]), min(edges[2:]), max(edges[2:])
    pixels = np.full((height, width, 3), 77, np.uint8)
    result = crop._cut(pixels, Box(left / 9, top / 9, right / 9, bottom / 9), size)
    if isinstance(result, str):
        assert result == OUTSIDE
    else:
        assert result.shape == (size, size, 3) and result.dtype == np.uint8 and (result == 77).all()
