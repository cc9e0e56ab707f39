"""Search for copies that are turned, cropped or mirrored."""

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.fft import dctn

from headstand.preparation import geometric_matches
from headstand.preparation.alignment import SIDE
from headstand.preparation.geometric_matches import CROPS, FREQUENCIES, matches
from tests.preparation.doctor.faults import photo, rotated


def thumbnail(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_copy_is_found_with_how_it_differs(mirrored: bool) -> None:
    photos = [photo("tree", number) for number in range(5)]
    copy = rotated(ImageOps.mirror(photos[2]) if mirrored else photos[2], 4)
    found = matches(np.stack([thumbnail(image) for image in (*photos, copy)]), np.arange(6))
    assert [(pair.first, pair.second) for pair in found] == [(2, 5)]
    assert found[0].detail.startswith("mirrored, turned by 4°" if mirrored else "turned by 4°")
    assert matches(np.stack([thumbnail(image) for image in (*photos, copy)]), np.zeros(6, int)) == []


@pytest.mark.parametrize("crop", CROPS)
def test_a_descriptor_is_the_low_end_of_the_cosine_spectrum(crop: tuple[float, float, float, float]) -> None:
    thumbnails = np.stack([thumbnail(photo("tree", number)) for number in range(3)])
    left, right, top, bottom = (round(share * SIDE) for share in crop)
    cut = thumbnails[:, top : SIDE - bottom, left : SIDE - right].astype(float)
    spectrum = dctn(cut, axes=(1, 2), norm="ortho")[:, :FREQUENCIES, :FREQUENCIES]
    frequency = np.hypot(*np.indices((FREQUENCIES, FREQUENCIES)))
    expected = (spectrum * np.sqrt(frequency))[:, (frequency > 0) & (frequency < FREQUENCIES)]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(geometric_matches._descriptors(thumbnails, crop), expected, atol=1e-5)
