"""Folders as people have them: names, formats and sizes that a preparation must read or refuse with the remedy."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_preparation
from headstand import inputs
from headstand.cli import train
from headstand.images import ImageError, decode
from headstand.images import encoded as opening
from headstand.preparation import manifest
from headstand.preparation.doctor import examine
from headstand.preparation.prepare import PrepareError, prepare
from headstand.recipe import Recipe, RecipeError, Source, load
from tests.preparation.photos import class_folders, encoded, picture


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path) -> Path:
    return class_folders(tmp_path / "photos", {"cobra": 6, "tree": 6})


def recipe(source: Path | str, name: str = "poses") -> Recipe:
    key = "table" if str(source).endswith(".csv") else "folder"
    return Recipe(name=name, source=Source.model_validate({"kind": key, key: str(source)}))


def test_photos_are_recognised_by_content_whatever_they_are_called(source):
    for number, name in enumerate(("a2", "b.jpg_large", "c.pjpeg", "d.HEIC", "e.JPG_orig", "f")):
        (source / "tree" / name).write_bytes(encoded(picture(100 + number)))
    (source / "tree" / "notes.txt").write_text("to do")
    (source / "tree" / "Thumbs").write_bytes(b"\xd0\xcf\x11\xe0")
    summary = prepare(recipe(source))
    assert sum(summary.counts["tree"].values()) == 12
    assert (summary.left_out, summary.ignored) == ([], 2)
    assert {path.suffix for path in Path("data/poses").glob("*/tree/*")} == {".jpg"}


def test_unsupported_formats_are_left_out_by_name_with_the_remedy(source):
    image = Image.new("RGB", (64, 48), "teal")
    image.save(source / "tree" / "real.avif", "AVIF")
    image.save(source / "tree" / "scan.jpg", "TIFF")
    (source / "tree" / "scan.jp2").write_bytes(b"\xff\x4f\xff\x51")
    (source / "tree" / "new.jxl").write_bytes(b"\xff\x0a\0\0")
    (source / "tree" / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    summary = prepare(recipe(source))
    assert sum(summary.counts["tree"].values()) == 8  # the AVIF and the TIFF are decoded
    reasons = {Path(file).name: reason.partition("; ")[2] for file, reason in summary.left_out}
    assert reasons == {
        "scan.jp2": "it is JPEG 2000: convert it to JPEG or PNG",
        "new.jxl": "it is JPEG XL: convert it to JPEG or PNG",
        "logo.svg": "it is SVG: convert it to JPEG or PNG",
    }
    assert "it is JPEG XL: convert it to JPEG or PNG" in str(summary)


def test_a_class_of_jpeg_xl_alone_is_refused_by_that_name(source):
    for path in (source / "tree").iterdir():
        path.unlink()
    (source / "tree" / "IMG_1.jxl").write_bytes(b"\xff\x0a\0\0")
    with pytest.raises(PrepareError, match=r"class 'tree' has no usable photo \(.*it is JPEG XL: convert it to JPEG"):
        prepare(recipe(source))


def test_one_class_in_two_forms_of_unicode(tmp_path):
    first, second = unicodedata.normalize("NFC", "Café"), unicodedata.normalize("NFD", "Café")
    for number, name in enumerate((first, second, "tea")):
        (tmp_path / "one" / name).mkdir(parents=True)
        for photo in range(5):
            (tmp_path / "one" / name / f"{photo}.jpg").write_bytes(encoded(picture(photo + 10 * number)))
    assert {name: sum(c.values()) for name, c in prepare(recipe("one", "one")).counts.items()} == {first: 10, "tea": 5}
    for split, name, start in (("train", first, 0), ("validation", second, 10), ("test", second, 20)):
        for class_, more in ((name, 0), ("tea", 30)):
            (tmp_path / "two" / split / class_).mkdir(parents=True)
            for photo in range(3):
                path = tmp_path / "two" / split / class_ / f"{photo}.jpg"
                path.write_bytes(encoded(picture(photo + start + more)))
    assert prepare(recipe("two", "two")).counts == {
        name: {"train": 3, "validation": 3, "test": 3} for name in (first, "tea")
    }
    assert manifest.read(Path("data/two")).classes == (first, "tea")


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_a_class_name_that_is_too_long_is_refused_before_copying(source, kind):
    name = "ü" * 125
    if kind == "folder":
        (source / "tree").rename(source / name)
        location = source
    else:
        location = source.parent / "labels.csv"
        rows = [
            f"photos/{label}/{n}.jpg,{name if label == 'tree' else label}"
            for label in ("cobra", "tree")
            for n in range(3)
        ]
        location.write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    with pytest.raises(
        PrepareError, match=r"the class name 'ü{40}'\.\.\. has 250 bytes, and at most 200 .* rename the"
    ):
        prepare(recipe(location))
    assert not Path("data").exists()


def test_a_class_name_of_200_bytes_is_prepared(source):
    (source / "tree").rename(source / ("t" * 200))
    assert prepare(recipe(source)).counts["t" * 200]["train"] == 4


def test_a_name_too_long_for_a_dataset_is_refused():
    with pytest.raises(RecipeError, match=r"name = .*at most 100 characters"):
        load("yoga6", ["--name", "n" * 101])


def test_after_an_error_of_the_doctor_training_is_not_suggested(source, capsys, monkeypatch):
    monkeypatch.setattr(train, "explore", lambda folder: [])
    (source / "tree" / "copy.jpg").write_bytes((source / "cobra" / "1.jpg").read_bytes())
    for _ in range(2):  # the second time the dataset and the doctor's page are there already
        data_preparation.main(["yoga6", "--source", "photos", "--name", "mine"])
        out = capsys.readouterr().out
        assert out.splitlines()[-1] == (
            "not ready: 1 error would make metrics wrong; data/mine/explore/doctor.html shows where. Correct the "
            "source and prepare it again"
        )
        assert "train it" not in out
    (source / "tree" / "copy.jpg").unlink()
    data_preparation.main(["yoga6", "--source", "photos", "--name", "mine"])
    assert capsys.readouterr().out.splitlines()[-1] == "train it: python train.py yoga6 --name mine"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"MAX_BYTES": 9000}, "the image has {size:,} bytes; at most 9,000 are allowed"),
        ({"MAX_PIXELS": 20_000}, "the image is 200 x 150; at most 20,000 pixels are allowed"),
    ],
)
def test_a_large_photo_is_left_out_with_its_size_and_used_where_the_recipe_allows_it(
    source, monkeypatch, limits, reason
):
    noise = np.random.default_rng(1).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    path = source / "tree" / "large.png"
    Image.fromarray(noise).save(path)
    for name, value in limits.items():
        monkeypatch.setattr(opening, name, value)
    reason = reason.format(size=path.stat().st_size)
    summary = prepare(recipe(source))
    assert summary.left_out == [("tree/large.png", f"{reason}; --source.large true accepts larger files of your own")]
    large = Recipe(name="poses", source=Source(folder=str(source), large=True))
    summary = prepare(large)
    assert (summary.is_new, summary.left_out, sum(summary.counts["tree"].values())) == (True, [], 7)
    (prepared,) = Path("data/poses").glob("*/tree/*.png")
    assert prepared.read_bytes() == path.read_bytes()
    # The doctor and training read it; a service does not.
    assert [check.problem for check in examine(Path("data/poses")).checks if check.problem] == []
    assert inputs.of((32, 32, 3)).decode(prepared).shape == (32, 32, 3)
    for source_ in (prepared, prepared.read_bytes()):
        with pytest.raises(ImageError) as raised:
            inputs.named("photos", 32).decode(source_)
        assert (raised.value.code, str(raised.value)) == ("too_large", reason)
    assert not prepare(large).is_new
    assert prepare(recipe(source)).left_out != []


def test_a_users_own_files_have_limits_too(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("RGB", (100, 100)).save(path)
    monkeypatch.setattr(opening, "OWN_PIXELS", 9999)
    with pytest.raises(ImageError, match="the image is 100 x 100; at most 9,999 pixels are allowed"):
        decode(path, 8, large=True)
    monkeypatch.setattr(opening, "OWN_BYTES", 50)
    with pytest.raises(ImageError, match=f"the image has {path.stat().st_size} bytes; at most 50 are allowed"):
        decode(path, 8, large=True)


@pytest.mark.slow
def test_a_jpeg_of_108_megapixels(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("L", (12_000, 9_000), 80).save(path)
    with pytest.raises(ImageError, match="the image is 12000 x 9000; at most 64,000,000 pixels are allowed"):
        decode(path, 64)
    assert decode(path, 64, large=True).mean() == 80
