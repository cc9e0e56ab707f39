import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from headstand.files import digest
from headstand.preparation import manifest
from headstand.preparation.doctor import examine
from headstand.preparation.doctor.checked_folder import ExaminationError, contents
from headstand.preparation.doctor.issues import ISSUE_TYPES, Severity
from headstand.preparation.doctor.report import DoctorReport, write_json
from headstand.preparation.prepare import prepare
from headstand.recipe import Recipe, Source
from tests.preparation.doctor.faults import bomb, cropped, encoded, half_grey, healthy, photo, rotated


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return healthy(tmp_path / "photos")


def message(report: DoctorReport) -> dict[str, list[tuple[str, ...]]]:
    """The files of each case, by code."""
    return {found.kind.code: [case.files for case in found.cases] for found in report.findings}


def details(report: DoctorReport, code: str) -> list[str]:
    return [case.detail for found in report.findings if found.kind.code == code for case in found.cases]


def test_a_healthy_folder_has_no_findings(folder):
    report = examine(folder)
    assert message(report) == {}
    assert report.counts() == {"chair": {"": 7}, "tree": {"": 7}}
    assert report.lines() == ["14 usable photos in 2 classes; 0 errors, 0 warnings, 0 notes"]


@pytest.mark.parametrize("count", [8, pytest.param(20, marks=pytest.mark.slow)])
def test_few_false_alarms_among_drawn_photos(tmp_path, count):
    poses = ("chair", "cobra", "downdog", "goddess", "tree", "warrior")
    report = examine(healthy(tmp_path / "photos", poses, count))
    assert sum(found.files for found in report.findings) <= 1


FILES = {
    "empty.jpg": (lambda: b"", "empty_file", "0 bytes"),
    "page.jpg": (lambda: b"<!DOCTYPE html><html>not found</html>", "not_an_image", "it is a web page: download"),
    "scan.jpg": (
        lambda: encoded(photo("tree", 30), "TIFF"),
        "wrong_extension",
        "TIFF",
    ),
    "short.jpg": (lambda: encoded(photo("tree", 31))[:2000], "truncated", "cut short"),
    "short.png": (lambda: encoded(photo("tree", 32), "PNG")[:9000], "truncated", "cut short"),
    "closed.jpg": (lambda: half_grey(photo("tree", 33)), "truncated", "plain grey"),
    "bomb.png": (bomb, "too_large", "at most 64,000,000 pixels are allowed"),
    "phone.heic": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "damaged", "damaged or cut short"),
    "new.jxl": (lambda: b"\xff\x0a\0\0", "unsupported_format", "it is JPEG XL: convert it"),
    "notes.txt": (lambda: b"to do", "other_file", "not an image"),
    "photo.png": (lambda: encoded(photo("tree", 34)), "wrong_extension", "JPEG"),
    "photo.dat": (lambda: encoded(photo("tree", 35)), "wrong_extension", "it is a JPEG file"),
    "moving.gif": (
        lambda: encoded(photo("tree", 36), "GIF", save_all=True, append_images=[photo("tree", 37)]),
        "animated",
        "GIF",
    ),
    "inks.jpg": (lambda: encoded(photo("tree", 38).convert("CMYK")), "converted", "CMYK"),
    "palette.png": (lambda: encoded(photo("tree", 39).quantize(64), "PNG"), "converted", "palette"),
    "grey.jpg": (lambda: encoded(photo("tree", 40).convert("L")), "converted", "grey"),
    "deep.png": (
        lambda: encoded(Image.fromarray(np.asarray(photo("tree", 41).convert("L")).astype(np.uint16) * 257), "PNG"),
        "converted",
        "16 bits",
    ),
    "glass.png": (
        lambda: encoded(Image.merge("RGBA", (*photo("tree", 42).split(), photo("chair", 43).convert("L"))), "PNG"),
        "converted",
        "transparency",
    ),
    "dark.jpg": (lambda: encoded(ImageEnhance.Brightness(photo("tree", 45)).enhance(0.2)), "dark", "of 255"),
    "bright.jpg": (
        lambda: encoded(photo("tree", 46).point(lambda value: 208 + value * 47 // 255)),
        "bright",
        "of 255",
    ),
    "plain.jpg": (lambda: encoded(Image.new("RGB", (144, 144), "teal")), "low_information", "0.0 bits"),
    "blurry.jpg": (
        lambda: encoded(photo("tree", 47, 256).filter(ImageFilter.GaussianBlur(4))),
        "blurry",
        "blur 0.",
    ),
    "tiny.jpg": (lambda: encoded(photo("tree", 48).resize((20, 20))), "size_outlier", "20 x 20"),
    "huge.jpg": (lambda: encoded(photo("tree", 49).resize((1400, 1400))), "size_outlier", "1400 x 1400"),
    "banner.jpg": (lambda: encoded(photo("tree", 50).resize((500, 100))), "aspect_outlier", "500 x 100"),
}


def test_names_the_fault_of_each_file(folder):
    for name, (make, _, _) in FILES.items():
        (folder / "tree" / name).write_bytes(make())
    report = examine(folder)
    found = {(file, one.kind.code): case.detail for one in report.findings for case in one.cases for file in case.files}
    also = {("tree/moving.gif", "converted")}  # it has a palette
    assert found.keys() == {(f"tree/{name}", code) for name, (_, code, _) in FILES.items()} | also
    for name, (_, code, detail) in FILES.items():
        assert detail in found[f"tree/{name}", code]
    usable = [code for _, code, _ in FILES.values() if ISSUE_TYPES[code].severity != Severity.ERROR]
    assert report.counts()["tree"][""] == 7 + len(usable) - usable.count("other_file")


def test_an_exif_rotation_is_reported_and_sizes_are_upright(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = photo("tree", 44).resize((300, 110))
    (folder / "tree" / "turned.jpg").write_bytes(encoded(wide, exif=exif))
    report = examine(folder)
    assert message(report)["exif_turn"] == [("tree/turned.jpg",)]
    assert details(report, "aspect_outlier") == ["110 x 300"]


COPIES = {
    "re-encoded": (lambda image: image, "near_duplicates"),
    "resized": (lambda image: image.resize((90, 90)), "near_duplicates"),
    "slightly cropped": (lambda image: cropped(image, 0.04, 0, 0, 0.04), "near_duplicates"),
    "mirrored": (ImageOps.mirror, "mirror_copies"),
    "turned by 3 degrees": (lambda image: rotated(image, 3), "geometric_matches"),
    "turned by 5 degrees": (lambda image: rotated(image, -5), "geometric_matches"),
    "turned with black corners": (lambda image: rotated(image, 3, filled=True), "geometric_matches"),
    "cropped": (lambda image: cropped(image, 0.1, 0.1, 0.1, 0.1), "geometric_matches"),
    "cropped in a corner": (lambda image: cropped(image, 0.1, 0.1, 0, 0), "geometric_matches"),
    "mirrored, turned and cropped": (
        lambda image: ImageOps.mirror(cropped(rotated(image, 2), 0.05, 0.05, 0.05, 0.05)),
        "geometric_matches",
    ),
}


@pytest.mark.parametrize("change", COPIES)
def test_finds_changed_copies(folder, change):
    alter, code = COPIES[change]
    for number in range(3):
        (folder / "tree" / f"copy{number}.jpg").write_bytes(encoded(alter(photo("tree", number)), quality=60))
    found = message(examine(folder))
    expected = {(f"tree/{number}.jpg", f"tree/copy{number}.jpg") for number in range(3)}
    known = {"near_duplicates", "mirror_copies", "geometric_matches"}
    assert {tuple(sorted(files)) for name in known & set(found) for files in found[name]} == expected
    assert found[code]  # some may be similar enough for `near_duplicates`


def test_the_doctor_and_the_preparation_agree_on_copies(folder, tmp_path, monkeypatch):
    for number, change in enumerate(("re-encoded", "mirrored", "turned by 5 degrees", "cropped")):
        alter, _ = COPIES[change]
        (folder / "tree" / f"copy{number}.jpg").write_bytes(encoded(alter(photo("tree", number)), quality=60))
    found = examine(folder).findings
    assert {one.kind.code for one in found} == {"near_duplicates", "mirror_copies", "geometric_matches"}
    assert all(one.kind.advice.endswith(" preparation keeps them in one split.") for one in found)
    monkeypatch.chdir(tmp_path)
    prepare(Recipe(name="poses", source=Source(folder=str(folder))))
    groups = {one.sha256: (one.split, one.group) for one in manifest.read(Path("data/poses")).photos}
    cases = [case.files for one in found for case in one.cases]
    assert [len({groups[digest(folder / file)] for file in files}) for files in cases] == [1] * 4


def test_identical_files_in_a_class_are_a_note(folder):
    shutil.copy(folder / "tree/1.jpg", folder / "tree/9.jpg")
    report = examine(folder)
    assert message(report) == {"exact_duplicates": [("tree/1.jpg", "tree/9.jpg")]}
    assert not report.of(Severity.ERROR)


@pytest.mark.parametrize(
    ("alter", "code"), [(lambda image: image, "label_conflict"), (lambda i: rotated(i, 6), "likely_label_conflict")]
)
def test_a_copy_in_another_class_is_a_conflict(folder, alter, code):
    (folder / "chair/copy.jpg").write_bytes(encoded(alter(photo("tree", 2)), quality=70))
    report = examine(folder)
    assert message(report) == {code: [("chair/copy.jpg", "tree/2.jpg")]}
    assert "chair, tree" in details(report, code)[0]
    assert bool(report.of(Severity.ERROR)) == (code == "label_conflict")


@pytest.mark.parametrize(("alter", "code"), [(lambda image: image, "leak"), (lambda i: rotated(i, 6), "likely_leak")])
def test_a_copy_in_another_split_is_a_leak(tmp_path, alter, code):
    for split in ("train", "val", "Test"):
        for pose in ("chair", "tree"):
            (tmp_path / split / pose).mkdir(parents=True)
            for number in range(5):
                image = photo(pose, number + 5 * len(split))
                (tmp_path / split / pose / f"{number}.jpg").write_bytes(encoded(image))
    assert message(examine(tmp_path)) == {}
    (tmp_path / "Test/tree/copy.jpg").write_bytes(encoded(alter(photo("tree", 27)), quality=70))
    report = examine(tmp_path)
    assert message(report) == {code: [("train/tree/2.jpg", "Test/tree/copy.jpg")]} or message(report) == {
        code: [("Test/tree/copy.jpg", "train/tree/2.jpg")]
    }
    assert "test, train" in details(report, code)[0]
    assert report.counts()["tree"] == {"train": 5, "validation": 5, "test": 6}


def test_classes_that_cannot_be_split(tmp_path):
    folder = healthy(tmp_path / "photos", ("chair", "tree", "cobra"), 31)
    (folder / "none").mkdir()
    for number in range(1, 31):
        (folder / "tree" / f"{number}.jpg").write_bytes((folder / "tree/0.jpg").read_bytes())
    for number in range(3, 31):
        (folder / "cobra" / f"{number}.jpg").unlink()
    report = examine(folder)
    assert details(report, "empty_class") == ["none"]
    assert details(report, "too_few") == ["tree: 31 photos, 1 different"]
    assert details(report, "imbalance") == ["chair has 31 photos, cobra has 3"]
    one = examine(healthy(tmp_path / "one", ("tree",)))
    assert details(one, "one_class") == ["there is only tree"]


def test_a_split_with_few_or_none_of_a_class(tmp_path):
    for split, count in (("train", 6), ("test", 2)):
        for pose in ("chair", "tree"):
            (tmp_path / split / pose).mkdir(parents=True)
            for number in range(count if pose == "tree" or split == "train" else 0):
                image = photo(pose, number + 10 * (split == "test"))
                (tmp_path / split / pose / f"{number}.jpg").write_bytes(encoded(image))
    report = examine(tmp_path)
    assert details(report, "empty_class") == ["chair: none in test"]
    assert details(report, "few_examined") == ["tree: 2 in test"]


def test_photos_outside_of_classes_links_and_system_files(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.jpg").write_bytes(encoded(photo("tree", 60)))
    (folder / "tree/link.jpg").symlink_to(tmp_path / "elsewhere/x.jpg")
    (folder / "tree/gone.jpg").symlink_to(tmp_path / "elsewhere/gone.jpg")
    (folder / "@eaDir").mkdir()
    (folder / "@eaDir/thumbnail.jpg").write_bytes(encoded(photo("tree", 62)))
    (folder / "loose.jpg").write_bytes(encoded(photo("tree", 61)))
    (folder / "tree/Thumbs.db").write_bytes(b"?")
    (folder / "tree/.DS_Store").write_bytes(b"?")
    report = examine(folder)
    assert message(report) == {"outside_classes": [("loose.jpg",)], "outside_link": [()]}
    assert details(report, "outside_link") == ["tree/gone.jpg"]
    assert "tree/link.jpg" in {usable.name for usable in report.usable}
    assert report.contents.classes == ("chair", "tree")


def test_a_folder_inside_single_folders_is_found(tmp_path):
    healthy(tmp_path / "archive/dataset")
    assert examine(tmp_path).contents.root == tmp_path / "archive/dataset"


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("x")])
def test_nothing_to_examine(tmp_path, make):
    make(tmp_path / "photos")
    with pytest.raises(ExaminationError, match="photos"):
        examine(tmp_path / "photos")


def test_a_prepared_dataset_is_compared_with_its_manifest(dataset):
    folder = dataset.folder
    changed, missing = (folder / photo.path for photo in dataset.photos[:2])
    changed.write_bytes(dataset.photos[5].path and (folder / dataset.photos[8].path).read_bytes())
    missing.unlink()
    found = message(examine(folder))
    assert found["changed_file"] == [(dataset.photos[0].path,)]
    assert found["missing_file"] == [(dataset.photos[1].path,)]


def test_the_source_is_not_touched(folder):
    (folder / "tree/empty.jpg").write_bytes(b"")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    examine(folder)
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    assert before == after


def test_json_has_stable_keys(folder, tmp_path):
    shutil.copy(folder / "tree/1.jpg", folder / "chair/9.jpg")
    write_json(examine(folder), tmp_path / "out/doctor.json")
    record = json.loads((tmp_path / "out/doctor.json").read_text())
    assert (record["version"], record["photos"], record["layout"]) == (2, 15, "classes")
    assert (record["errors"], record["warnings"], record["notes"]) == (1, 0, 0)
    assert record["findings"] == [
        {
            "code": "label_conflict",
            "severity": "error",
            "title": ISSUE_TYPES["label_conflict"].title,
            "files": 2,
            "cases": [{"files": ["chair/9.jpg", "tree/1.jpg"], "detail": "identical: chair, tree"}],
        }
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["doctor.json"]


def test_layouts_are_those_of_a_preparation(tmp_path):
    for subfolder in ("training_set/training_set", "test_set/test_set", "test1"):
        for pose in ("tree", "cobra") if subfolder != "test1" else ("",):
            (tmp_path / subfolder / pose).mkdir(parents=True)
            (tmp_path / subfolder / pose / "1.jpg").write_bytes(encoded(photo("tree", 1)))
    found = contents(tmp_path)
    assert (found.layout, found.classes, found.outside_classes) == ("splits", ("cobra", "tree"), ("test1/1.jpg",))
    assert {(item.class_, item.split) for item in found.items} == {
        (pose, split) for pose in ("tree", "cobra") for split in ("train", "test")
    }


def test_a_layout_that_a_preparation_refuses_is_examined_by_its_outer_folders(tmp_path):
    for subfolder in ("original", "augmented"):
        for pose in ("tree", "cobra"):
            (tmp_path / subfolder / pose).mkdir(parents=True)
            (tmp_path / subfolder / pose / "1.jpg").write_bytes(encoded(photo("tree", 1)))
    found = contents(tmp_path)
    assert (found.layout, found.classes, len(found.items)) == ("classes", ("augmented", "original"), 4)


def test_other_files_and_empty_classes_belong_to_their_class_folder(tmp_path):
    for name in ("tree/deep/1.jpg", "cobra/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(encoded(photo("tree", 1)))
    (tmp_path / "tree" / "notes.txt").write_text("to do")
    (tmp_path / "chair").mkdir()
    (tmp_path / "chair" / "plan.txt").write_text("to do")
    (tmp_path / "README.txt").write_text("read")
    found = contents(tmp_path)
    assert found.classes == ("chair", "cobra", "tree")
    assert [(found.name(item.path), item.class_) for item in found.items] == [
        ("chair/plan.txt", "chair"), ("cobra/1.jpg", "cobra"), ("tree/deep/1.jpg", "tree"), ("tree/notes.txt", "tree"),
    ]  # fmt: skip
