import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from headstand.preparation import near_duplicates
from headstand.preparation.near_duplicates import Signature, SignatureError
from tests.preparation.photos import encoded, picture, signature

COUNT = 20


@pytest.fixture(scope="module")
def originals() -> list[Signature]:
    return [signature(encoded(picture(seed))) for seed in range(COUNT)]


def crop(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    return image.crop((int(width * share), 0, width, int(height * (1 - share))))


CHANGES = {
    "re-encoded": lambda image: image,
    "half the size": lambda image: image.resize((60, 48), Image.Resampling.BILINEAR),
    "squashed": lambda image: image.resize((70, 96), Image.Resampling.BILINEAR),
    "mirrored": ImageOps.mirror,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "grey": ImageOps.grayscale,
    "cropped": lambda image: crop(image, 0.05),
    "mirrored and cropped": lambda image: crop(ImageOps.mirror(image), 0.04),
}


@pytest.mark.parametrize("change", CHANGES)
def test_finds_every_changed_copy_and_no_other(change, originals):
    copies = [signature(encoded(CHANGES[change](picture(seed)), quality=40)) for seed in range(COUNT)]
    groups = near_duplicates.groups([*originals, *copies])
    assert groups.tolist() == [*range(COUNT), *range(COUNT)]


@pytest.mark.parametrize("change", ["mirrored", "cropped"])
def test_finds_copies_in_other_tiles_and_batches(change, originals, monkeypatch):
    copies = [signature(encoded(CHANGES[change](picture(seed)))) for seed in range(COUNT)]
    grouped = near_duplicates.groups([*originals, *copies])
    monkeypatch.setattr(near_duplicates, "ROWS", 8)
    monkeypatch.setattr(near_duplicates, "COLUMNS", 16)
    monkeypatch.setattr(near_duplicates, "CHUNK", 3)
    assert near_duplicates.groups([*originals, *copies]).tolist() == grouped.tolist() == [*range(COUNT), *range(COUNT)]
    assert near_duplicates.near_duplicates_of_any(originals, copies[::2]).tolist() == [True, False] * (COUNT // 2)


def test_finds_a_crop_whichever_side_holds_it(originals):
    cropped = [signature(encoded(crop(picture(seed), 0.05))) for seed in range(0, COUNT, 2)]
    assert near_duplicates.near_duplicates_of_any(originals, cropped).tolist() == [True, False] * (COUNT // 2)
    assert near_duplicates.near_duplicates_of_any(cropped, originals).all()
    assert not near_duplicates.near_duplicates_of_any(cropped, originals[1::2]).any()


def test_an_upside_down_picture_is_another(originals):
    flipped = [signature(encoded(ImageOps.flip(picture(seed)))) for seed in range(COUNT)]
    assert not near_duplicates.near_duplicates_of_any(flipped, originals).any()


def test_similar_figures_on_white_are_not_near_duplicates():
    def figure(arms: int) -> Image.Image:
        image = Image.new("L", (96, 96), 255)
        image.paste(0, (44, 10, 52, 90))
        image.paste(60, (48 - arms, 20, 48 + arms, 26))
        return image

    signatures = [signature(encoded(figure(arms))) for arms in (6, 16, 30)]
    assert near_duplicates.groups(signatures).tolist() == [0, 1, 2]


def test_near_duplicates_depend_only_on_the_stored_text(originals):
    stored = [Signature(original.text) for original in originals]
    assert all(len(copy.text) == 99 for copy in stored)
    assert near_duplicates.near_duplicates_of_any(stored, originals).all()


def test_near_duplicates_of_near_duplicates_share_a_group_numbered_by_first_appearance():
    image = picture(7, (400, 400))
    steps = [image.crop((left, 0, 400, 400)) for left in (0, 36, 72)]
    first, middle, last = (signature(encoded(step)) for step in steps)
    other = signature(encoded(picture(8)))
    assert not near_duplicates.near_duplicates_of_any([first], [last]).any()
    assert near_duplicates.groups([other, first, last, middle]).tolist() == [0, 1, 1, 1]


def test_plain_pictures_are_near_duplicates_by_their_bytes_alone():
    plain = [encoded(Image.new("RGB", (20, 20), colour), "PNG") for colour in ("red", "blue", "red")]
    signatures = [signature(data) for data in plain]
    assert {one.text for one in signatures} == {"8" * 99}
    assert near_duplicates.groups(signatures).tolist() == [0, 1, 2]
    assert near_duplicates.groups(signatures, ["a", "b", "a"]).tolist() == [0, 1, 0]


def test_no_photos_have_no_near_duplicates():
    assert near_duplicates.groups([]).shape == (0,)
    assert near_duplicates.near_duplicates_of_any([], [Signature("8" * 99)]).shape == (0,)
    assert near_duplicates.near_duplicates_of_any([Signature("8" * 99)], []).tolist() == [False]


@pytest.fixture(scope="module")
def twelve() -> list[Signature]:
    """Six photos, each in two sizes."""
    return [signature(encoded(picture(seed // 2, (32 + seed % 2, 32)))) for seed in range(12)]


@settings(max_examples=20)
@given(st.permutations(range(12)))
def test_the_order_of_the_photos_does_not_matter(twelve, order):
    photos = twelve
    groups = near_duplicates.groups([photos[index] for index in order])
    pairs = np.array([index // 2 for index in order])
    assert ((groups[:, None] == groups[None, :]) == (pairs[:, None] == pairs[None, :])).all()


@given(st.text(max_size=120).filter(lambda text: len(text) != 99) | st.sampled_from(["0" * 99, "g" * 99, "A" * 99]))
def test_an_invalid_signature_is_refused(text):
    with pytest.raises(SignatureError, match="not the signature of a photo"):
        Signature(text)
