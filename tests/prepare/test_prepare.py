import csv
import errno
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from headstand.prepare import manifest
from headstand.prepare.folder import FolderError
from headstand.prepare.manifest import ManifestError
from headstand.prepare.prepare import PrepareError, prepare
from headstand.prepare.split import SplitError
from headstand.recipe import Recipe, Source, Split
from tests.prepare.photos import class_folders, encoded, picture


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source(tmp_path) -> Path:
    return class_folders(tmp_path / "photos", {"cobra": 10, "tree": 15})


def recipe(source: Path, name: str = "poses", seed: int = 1, **split: object) -> Recipe:
    return Recipe(name=name, seed=seed, source=Source(folder=source), split=Split.model_validate(split))


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_makes_class_folders_per_split_with_a_manifest_that_fits(source):
    before = snapshot(source)
    summary = prepare(recipe(source))
    dataset = manifest.read(Path("data/poses"))
    assert dataset.classes == ("cobra", "tree")
    assert summary.counts == {
        "cobra": {"train": 6, "validation": 2, "test": 2},
        "tree": {"train": 9, "validation": 3, "test": 3},
    }
    files = {path.relative_to("data/poses").as_posix() for path in Path("data/poses").rglob("*.jpg")}
    assert files == {photo.path for photo in dataset.photos}
    for photo in dataset.photos:
        assert photo.path.startswith(f"{photo.split}/{photo.class_}/{photo.class_}")
        assert digest(dataset.folder / photo.path) == photo.sha256
        assert (photo.width, photo.height) == (120, 96)
    names = sorted(Path(photo.path).name for photo in dataset.photos if photo.class_ == "tree")
    assert names == [f"tree{number:04d}.jpg" for number in range(1, 16)]
    assert sorted(p.sha256 for p in dataset.photos) == sorted(digest(path) for path in source.rglob("*.jpg"))
    assert snapshot(source) == before
    assert not list(Path("data").glob(".*"))


def test_numbers_follow_the_natural_order_of_the_source(source):
    prepare(recipe(source))
    (tenth,) = Path("data/poses").glob("*/tree/tree0011.jpg")
    assert digest(tenth) == digest(source / "tree" / "10.jpg")


def test_the_copies_are_files_of_their_own(source):
    prepare(recipe(source))
    for path in Path("data/poses").rglob("*.jpg"):
        path.write_bytes(b"edited")
    assert not any(path.read_bytes() == b"edited" for path in source.rglob("*.jpg"))


def test_run_twice_it_changes_nothing(source):
    first = prepare(recipe(source))
    before = snapshot(Path("data"))
    second = prepare(recipe(source))
    assert snapshot(Path("data")) == before
    assert (first.made, second.made) == (True, False)
    assert second.counts == first.counts
    assert "data/poses: unchanged since it was made" in str(second)


def test_another_seed_draws_anew_and_the_old_one_comes_back(source):
    rows = {}
    for seed in (1, 2, 1):
        assert prepare(recipe(source, seed=seed)).made
        rows.setdefault(seed, []).append(Path("data/poses/manifest.csv").read_bytes())
    assert rows[1][0] == rows[1][1] != rows[2][0]


def test_a_changed_source_is_prepared_anew(source):
    prepare(recipe(source))
    (source / "tree" / "99.jpg").write_bytes(encoded(picture(99)))
    assert prepare(recipe(source)).counts["tree"]["train"] == 10


def test_another_place_of_the_same_photos_gives_the_same_dataset(source, tmp_path):
    prepare(recipe(source))
    table = Path("data/poses/manifest.csv").read_bytes()
    moved = tmp_path / "moved" / "nested"
    moved.mkdir(parents=True)
    for name in ("tree", "cobra"):
        shutil.copytree(source / name, moved / name)
    prepare(recipe(moved.parent))
    assert Path("data/poses/manifest.csv").read_bytes() == table


def test_a_lost_file_or_manifest_is_made_again(source):
    prepare(recipe(source))
    before = Path("data/poses/manifest.csv").read_bytes()
    next(Path("data/poses/train/tree").iterdir()).unlink()
    assert prepare(recipe(source)).made
    Path("data/poses/manifest.csv").unlink()
    assert prepare(recipe(source)).made
    assert Path("data/poses/manifest.csv").read_bytes() == before


def test_damaged_photos_are_left_out_and_named(source):
    whole = (source / "tree" / "3.jpg").read_bytes()
    (source / "tree" / "3.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "tree" / "4.jpg").write_bytes(b"")
    (source / "cobra" / "5.jpg").write_text("<html>not found</html>")
    summary = prepare(recipe(source))
    assert {file for file, _ in summary.left_out} == {"tree/3.jpg", "tree/4.jpg", "cobra/5.jpg"}
    assert "cut short" in dict(summary.left_out)["tree/3.jpg"]
    assert sum(summary.counts["tree"].values()) == 13
    assert "tree/3.jpg" in str(summary)
    assert prepare(recipe(source)).left_out == summary.left_out


def test_extensions_follow_the_content(source):
    for name, format_ in (("0", "PNG"), ("1", "GIF"), ("2", "WEBP"), ("3", "BMP")):
        (source / "tree" / f"{name}.jpg").write_bytes(encoded(picture(int(name) + 50), format_))
    (source / "tree" / "4.jpg").rename(source / "tree" / "4.JPEG")
    prepare(recipe(source))
    names = {path.name for path in Path("data/poses").glob("*/tree/*")}
    assert {"tree0001.png", "tree0002.gif", "tree0003.webp", "tree0004.bmp", "tree0005.jpg"} <= names
    assert not list(Path("data/poses").rglob("*.JPEG"))


def test_twins_stay_in_one_split_and_labels_that_disagree_are_told(source):
    for number in range(4):
        copy = ImageOps.mirror(picture(10 + number))
        (source / "tree" / f"copy{number}.png").write_bytes(encoded(copy, "PNG"))
    (source / "cobra" / "mislabelled.jpg").write_bytes((source / "tree" / "0.jpg").read_bytes())
    summary = prepare(recipe(source))
    dataset = manifest.read(Path("data/poses"))
    groups: dict[int, list[manifest.Photo]] = {}
    for photo in dataset.photos:
        groups.setdefault(photo.group, []).append(photo)
    assert Counter(len(group) for group in groups.values()) == {1: 21, 2: 3, 3: 1}
    assert all(len({photo.split for photo in group}) == 1 for group in groups.values())
    assert (summary.groups, summary.twins, summary.largest, summary.straddling) == (4, 9, 3, 0)
    (conflict,) = summary.conflicts
    assert Counter(path.split("/")[1] for path in conflict) == {"tree": 2, "cobra": 1}
    assert "twins under different labels: " + ", ".join(conflict) in str(summary)


def test_ordered_takes_the_file_order_and_warns_of_straddling_twins(source):
    (source / "cobra" / "9.jpg").write_bytes((source / "cobra" / "0.jpg").read_bytes())
    summary = prepare(recipe(source, strategy="ordered"))
    dataset = manifest.read(Path("data/poses"))
    assert [photo.split for photo in dataset.photos if photo.class_ == "cobra"] == (
        ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    )
    assert summary.straddling == 1
    assert "warning: 1 groups of twins lie in more than one split" in str(summary)


def test_keep_apart_leaves_out_twins_of_the_others_examination_photos(source, tmp_path):
    prepare(recipe(source, name="first"))
    first = manifest.read(Path("data/first"))
    examined = [photo for photo in first.photos if photo.split != "train"]
    learned = [photo for photo in first.photos if photo.split == "train"]
    second = class_folders(tmp_path / "second", {"a": 6, "b": 6}, first=500)
    for place, photo in enumerate(examined):
        copy = ImageOps.mirror(Image.open(first.folder / photo.path)).resize((90, 72))
        (second / "a" / f"copy{place}.png").write_bytes(encoded(copy, "PNG"))
    (second / "b" / "copy.jpg").write_bytes((first.folder / learned[0].path).read_bytes())
    summary = prepare(recipe(second, name="second", keep_apart=["first"]))
    assert [file for file, _ in summary.left_out] == sorted(f"a/copy{place}.png" for place in range(10))
    assert {reason for _, reason in summary.left_out} == {"twins of validation or test photos of first"}
    assert {name: sum(counts.values()) for name, counts in summary.counts.items()} == {"a": 6, "b": 7}
    assert not prepare(recipe(second, name="second", keep_apart=["first"])).made
    prepare(recipe(source, name="first", seed=5))
    assert prepare(recipe(second, name="second", keep_apart=["first"])).made


def test_keep_apart_names_the_command_that_is_missing(source):
    with pytest.raises(ManifestError, match=r"data/other: run `python data_preparation.py other`"):
        prepare(recipe(source, keep_apart=["other"]))
    assert not Path("data").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_run_leaves_the_old_dataset_and_can_be_repeated(source, monkeypatch, error):
    prepare(recipe(source))
    before = snapshot(Path("data"))
    copy, calls = shutil.copyfile, []

    def fail(origin, target):
        calls.append(target)
        if len(calls) == 5:
            raise error
        return copy(origin, target)

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(type(error)):
        prepare(recipe(source, seed=2))
    assert snapshot(Path("data")) == before
    assert [path.name for path in Path("data").iterdir()] == ["poses"]
    monkeypatch.setattr(shutil, "copyfile", copy)
    assert prepare(recipe(source, seed=2)).made


def test_leftovers_of_a_killed_run_do_no_harm(source):
    for leftover in (".poses.part", ".poses.old"):
        (Path("data") / leftover / "train").mkdir(parents=True)
    prepare(recipe(source))
    assert [path.name for path in Path("data").iterdir()] == ["poses"]


def test_a_folder_of_the_users_is_not_replaced(source):
    Path("data/poses").mkdir(parents=True)
    Path("data/poses/thesis.txt").write_text("dear")
    with pytest.raises(PrepareError, match=r"data/poses is there already and was not made by data_preparation\.py"):
        prepare(recipe(source))
    assert Path("data/poses/thesis.txt").read_text() == "dear"


def test_a_source_inside_the_dataset_is_refused(source):
    prepare(recipe(source))
    before = snapshot(Path("data"))
    with pytest.raises(PrepareError, match="lies in data/poses, which would be replaced"):
        prepare(recipe(Path("data/poses/train"), seed=2))
    assert snapshot(Path("data")) == before


def test_odd_class_names_become_safe_folders(tmp_path):
    names = {"warrior 2": "warrior 2", "arbre été": "arbre été", "what?": "what_", "a:b": "a_b", "dot.": "dot"}
    prepare(recipe(class_folders(tmp_path / "photos", dict.fromkeys(names, 3))))
    assert set(manifest.read(Path("data/poses")).classes) == set(names.values())
    assert {path.name for path in Path("data/poses/train").iterdir()} == set(names.values())


def test_a_name_that_is_not_utf8_is_survived(tmp_path):
    source = class_folders(tmp_path / "photos", {"a": 3, "b\udcff": 4})
    (source / "a" / "\udcff.jpg").write_bytes(b"broken")
    summary = prepare(recipe(source))
    str(summary).encode()
    assert list(summary.counts) == ["a", "b_"]
    assert not prepare(recipe(source)).made


@pytest.mark.parametrize("names", [("a?", "a*"), ("Tree", "tree")])
def test_classes_that_would_share_a_folder_are_told(tmp_path, names):
    with pytest.raises(PrepareError, match="would share the folder"):
        prepare(recipe(class_folders(tmp_path / "photos", dict.fromkeys(names, 3))))


def test_a_class_without_a_usable_photo_is_told_with_the_reason(source):
    for path in (source / "cobra").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(PrepareError, match=r"class 'cobra' has no usable photo \(cobra/0.jpg: .*not an image"):
        prepare(recipe(source))


def test_too_few_photos_and_wrong_layouts_leave_nothing_behind(tmp_path):
    for counts, error in (({"a": 2, "b": 5}, SplitError), ({"a": 5}, FolderError)):
        source = class_folders(tmp_path / error.__name__, counts)
        with pytest.raises(error):
            prepare(recipe(source))
    assert not Path("data").exists() or not list(Path("data").iterdir())


def test_numbers_are_wider_where_a_class_needs_it(source, monkeypatch):
    from headstand.prepare import prepare as module

    monkeypatch.setattr(module, "DIGITS", 1)
    prepare(recipe(source))
    assert {path.name for path in Path("data/poses").glob("*/tree/tree0[12].jpg")} == {"tree01.jpg", "tree02.jpg"}


def test_a_damaged_record_is_made_again(source):
    prepare(recipe(source))
    for text in ("", "[]", '{"state": {}}', json.dumps({"state": None, "summary": 3})):
        Path("data/poses/prepared.json").write_text(text)
        assert prepare(recipe(source)).made


def test_the_manifest_is_plain_csv_with_the_contracts_columns(source):
    prepare(recipe(source))
    with Path("data/poses/manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "class", "split", "sha256", "width", "height", "group"]
    assert len(rows) == 25
