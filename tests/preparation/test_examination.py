import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin
from scipy.ndimage import uniform_filter1d

from headstand.images import ImageError, decode
from headstand.preparation import examination, near_duplicates, photo_cache
from headstand.preparation.doctor import checkup
from headstand.preparation.examination import LUMA, examine, examined, lumas, signatures
from headstand.preparation.explore.explore import explore
from headstand.preparation.prepare import prepare
from headstand.recipe import Recipe, Source, Split
from tests.images.test_isolated import file_of
from tests.preparation.doctor.faults import half_grey, photo, rotated
from tests.preparation.photos import encoded, picture, signature


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """Number of times that Pillow has decoded the pixels of each encoded image."""
    counts: Counter[bytes] = Counter()
    load_prepare = ImageFile.ImageFile.load_prepare

    def count(image: ImageFile.ImageFile) -> None:
        if isinstance(image.fp, io.BytesIO):
            counts[image.fp.getvalue()] += 1
        load_prepare(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", count)
    return counts


def photos(folder: Path) -> dict[Path, bytes]:
    """Photos of two classes and several formats, among them near duplicates, rotated copies and EXIF rotations."""
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {}
    for number in range(6):
        for class_ in ("chair", "tree"):
            image = photo(class_, number).resize((320, 260))
            files[f"{class_}/{number}.jpg"] = encoded(image, quality=90)
            if number < 3:
                files[f"{class_}/small{number}.png"] = encoded(image.resize((200, 180)), "PNG", exif=exif)
                files[f"{class_}/turned{number}.bmp"] = encoded(rotated(image, 4), "BMP")
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return {folder / name: data for name, data in files.items()}


def prepare_all(recipe: Recipe) -> None:
    prepare(recipe)
    checkup(recipe.data)
    explore(recipe.data)


def test_preparation_doctor_and_explore_decode_each_photo_once(tmp_path, monkeypatch, decoded):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("headstand.preparation.explore.explore._png", lambda figure: b"")  # drawing decodes no photos
    sources = photos(tmp_path / "photos")
    recipe = Recipe(name="poses", source=Source(folder=str(tmp_path / "photos")))
    prepare_all(recipe)
    assert {path.name: decoded[data] for path, data in sources.items()} == {path.name: 1 for path in sources}
    # Another division of the same photos: new files, pages and plots, from the cache.
    prepare_all(recipe.model_copy(update={"seed": 9, "split": Split(validation=0.2)}))
    assert {decoded[data] for data in sources.values()} == {1}


def test_a_second_preparation_opens_no_source_file_to_examine_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos")
    recipe = Recipe(name="poses", source=Source(folder=str(tmp_path / "photos")))
    prepare(recipe)
    monkeypatch.setattr(examination, "examine", lambda *_: pytest.fail("read again"))
    prepare(recipe.model_copy(update={"seed": 9}))


def test_without_a_writable_cache_photos_are_decoded_again(tmp_path, monkeypatch, decoded):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "file"))
    path = tmp_path / "1.jpg"
    path.write_bytes(data := encoded(picture(1)))
    first = examine(data)
    again = examined(path, first.file.sha256)
    assert (again.file, again.encoded) == (first.file, first.encoded)
    assert decoded[data] == 2


def test_results_from_the_cache_are_the_same(tmp_path):
    path = tmp_path / "1.jpg"
    path.write_bytes(encoded(picture(3, (300, 200))))
    first = examine(path.read_bytes())
    path.unlink()
    again = examined(path, first.file.sha256)
    assert again.file == first.file
    assert np.array_equal(again.luma, first.luma)
    assert np.array_equal(again.color, first.color)


def test_small_pictures_show_the_upright_photo(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture(5, (640, 400)), quality=95, exif=exif)
    found = examine(data)
    assert (found.file.width, found.file.height, found.file.upright) == (640, 400, (400, 640))
    assert (found.file.orientation, found.file.conversions) == (6, ("EXIF turn",))
    assert found.luma.shape == (64, 64)
    assert found.color.shape == (photo_cache.SIDE, photo_cache.SIDE, 3)
    assert np.abs(found.color.astype(int) - decode(data, photo_cache.SIDE)).mean() < 2
    assert np.abs(found.luma - decode(data, 64) @ LUMA).mean() < 2


@pytest.mark.parametrize("size", [(640, 480), (1000, 700), (200, 3000), (90, 60)])
def test_draft_decoding_does_not_change_the_findings(size):
    """The JPEG draft is at most 8 times smaller than the photo and at least as large as `SIDE`."""
    for seed in range(5):
        data = encoded(picture(seed, size), quality=90)
        assert near_duplicates.near_duplicates_of_any([examine(data).file.signature], [signature(data)]).all()


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"[1]", b'{"large": false, "file": {"extension": ".jpg"}}\n123'])
def test_damaged_entries_are_ignored(cache_folder, decoded, damage):
    data = encoded(picture(1))
    first = examine(data)
    (entry,) = (path for path in cache_folder.rglob("*") if path.name == first.file.sha256)
    entry.write_bytes(damage)
    assert examine(data).file == first.file
    assert decoded[data] == 2
    assert photo_cache.read(first.file.sha256, large=False) is not None


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"[1]"])
def test_a_grayscale_picture_missing_from_the_cache_is_made_again(tmp_path, cache_folder, damage):
    path = tmp_path / "1.png"
    path.write_bytes(encoded(picture(1), "PNG"))
    first = examine(path.read_bytes())
    (entry,) = (path for path in cache_folder.rglob("*") if path.name == first.file.sha256)
    entry.write_bytes(damage)
    assert np.array_equal(lumas([(path, first.file.sha256)]), [first.luma])


def test_the_services_limits_hold_for_a_photo_that_was_examined_with_larger_ones(monkeypatch):
    data = encoded(picture(2))
    monkeypatch.setattr("headstand.images.encoded.MAX_PIXELS", 100)
    assert examine(data, large=True).file.width == 120
    with pytest.raises(ImageError, match="at most 100 pixels"):
        examine(data)
    monkeypatch.undo()
    examine(data)
    assert photo_cache.read(examine(data).file.sha256, large=False)


@pytest.mark.parametrize("cut", [300, 2000, -40])
def test_damaged_photos_are_refused(cut):
    with pytest.raises(ImageError):
        examine(encoded(picture(1, (400, 300)))[:cut])


def test_a_damaged_png_with_a_late_orientation_is_refused():
    info = PngImagePlugin.PngInfo()
    info.add(b"eXIf", b"Exif\0\0MM\0*\0\0\0\x08\0\0", after_idat=True)
    data = bytearray(encoded(picture(1), "PNG", pnginfo=info))
    data[len(data) // 2] ^= 255
    with pytest.raises(ImageError) as error:
        examine(bytes(data))
    assert error.value.code == "corrupt_image"


def test_the_filled_part_of_a_short_jpeg_is_measured():
    assert examine(half_grey(photo("tree", 1))).file.measures.filled > 0.2
    assert examine(encoded(picture(1))).file.measures.filled == 0


FRAMES = [picture(seed, (400, 300)) for seed in range(3)]

TURNED = Image.Exif()
TURNED[0x0112] = 6

KINDS = {
    "animated GIF": encoded(FRAMES[0].quantize(32), "GIF", save_all=True, append_images=FRAMES[1:], disposal=2),
    "animated PNG": encoded(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:], exif=TURNED.tobytes()),
    "animated WebP": encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
    "MPO": encoded(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:]),
    "turned PNG": encoded(FRAMES[0], "PNG", exif=TURNED.tobytes()),
    "16 bits": encoded(Image.fromarray(np.arange(0, 60000, dtype=np.uint16).reshape(200, 300)), "PNG"),
    "CMYK": encoded(FRAMES[0].convert("CMYK"), "JPEG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_is_decoded_as_elsewhere_although_its_conversions_were_found_before(kind):
    data = KINDS[kind]
    found = examine(data).file
    size = tuple(round(side * examination.SIDE / max(found.upright)) for side in found.upright)
    stored = size[::-1] if found.orientation > 4 else size
    luma = decode(data, size, draft=stored) @ LUMA
    assert found.measures.contrast == pytest.approx(float(luma.std()), rel=1e-6)
    assert found.measures.blur == pytest.approx(max(examination._blur(luma, axis) for axis in (0, 1)), rel=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [(120, 90), (12, 9), (3, 40)])
def test_blur_is_what_a_second_blur_leaves_of_the_differences(size, axis):
    luma = decode(encoded(picture(4, size), quality=95)) @ LUMA
    sharp = np.abs(np.diff(luma, axis=axis))
    soft = np.abs(np.diff(uniform_filter1d(luma, 9, axis), axis=axis))
    expected = 1 - np.maximum(sharp - soft, 0).sum() / sharp.sum()
    assert 0 < expected < 1
    assert examination._blur(luma, axis) == pytest.approx(expected, abs=1e-4)


def test_signatures_and_lumas_keep_the_order_of_the_files(tmp_path):
    paths = [tmp_path / f"{seed}.png" for seed in range(9)]
    for seed, path in enumerate(paths):
        path.write_bytes(encoded(picture(seed), "PNG"))
    found = [examine(path.read_bytes()) for path in paths]
    assert signatures(paths) == [one.file.signature for one in found]
    assert np.array_equal(lumas([(path, "") for path in paths]), [one.luma for one in found])
    assert lumas([]).shape == (0, 64, 64)


def test_a_damaged_file_has_no_signature(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(picture(1))[:300])
    with pytest.raises(ImageError):
        signatures([tmp_path / "a.jpg"])


@pytest.mark.parametrize(("kind", "extension"), [("AVIF", ".avif"), ("HEIC", ".heic"), ("TIFF", ".tif")])
def test_formats_with_a_process_of_their_own_are_examined_too(kind, extension):
    exif = Image.Exif()
    exif[0x0112] = 6
    found = examine(file_of(photo("tree", 1).resize((96, 64)), kind, exif=exif.tobytes()))
    file = found.file
    assert (file.extension, file.format, file.width, file.height, file.orientation) == (extension, kind, 64, 96, 1)
    assert file.conversions == () and file.measures is not None and found.color.shape[2] == 3
