import csv
import errno
import hashlib
import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from headstand.preparation import manifest
from headstand.preparation.copying import ChangedError
from headstand.preparation.manifest import ManifestError
from headstand.preparation.prepare import PrepareError, prepare
from headstand.preparation.sources import folder
from headstand.preparation.sources.layout import FolderError
from headstand.preparation.split import SplitError
from headstand.recipe import Recipe, Source, Split
from tests.preparation.photos import class_folders, encoded, picture


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source(tmp_path) -> Path:
    return class_folders(tmp_path / "photos", {"cobra": 10, "tree": 15})


def recipe(source: Path, name: str = "poses", seed: int = 1, **split: object) -> Recipe:
    return Recipe(name=name, seed=seed, source=Source(folder=str(source)), split=Split.model_validate(split))


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_class_folders_per_split_match_the_manifest(source):
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


def test_the_copies_are_separate_files(source):
    prepare(recipe(source))
    for path in Path("data/poses").rglob("*.jpg"):
        path.write_bytes(b"edited")
    assert not any(path.read_bytes() == b"edited" for path in source.rglob("*.jpg"))


def test_a_second_run_changes_nothing(source):
    first = prepare(recipe(source))
    before = snapshot(Path("data"))
    second = prepare(recipe(source))
    assert snapshot(Path("data")) == before
    assert (first.is_new, second.is_new) == (True, False)
    assert second.counts == first.counts
    assert "data/poses: unchanged since it was prepared" in str(second)


def test_another_seed_gives_another_split_and_the_first_seed_the_first_split(source):
    rows = {}
    for seed in (1, 2, 1):
        assert prepare(recipe(source, seed=seed)).is_new
        rows.setdefault(seed, []).append(Path("data/poses/manifest.csv").read_bytes())
    assert rows[1][0] == rows[1][1] != rows[2][0]


def test_a_changed_source_is_prepared_again(source):
    prepare(recipe(source))
    (source / "tree" / "99.jpg").write_bytes(encoded(picture(99)))
    assert prepare(recipe(source)).counts["tree"]["train"] == 10


def test_the_same_photos_in_another_folder_give_the_same_dataset(source, tmp_path):
    prepare(recipe(source))
    table = Path("data/poses/manifest.csv").read_bytes()
    moved = tmp_path / "moved" / "nested"
    moved.mkdir(parents=True)
    for name in ("tree", "cobra"):
        shutil.copytree(source / name, moved / name)
    prepare(recipe(moved.parent))
    assert Path("data/poses/manifest.csv").read_bytes() == table


def test_another_source_under_the_same_name_is_reported(source, tmp_path):
    assert prepare(recipe(source)).replaced == ""
    other = class_folders(tmp_path / "other", {"cobra": 10, "tree": 12}, first=50)
    summary = prepare(recipe(other))
    assert summary.replaced == str(source)
    assert f"replaced: data/poses held the photos of {source}; --name keeps both" in summary.remarks()
    assert prepare(recipe(other)).replaced == str(source) and "replaced" not in str(prepare(recipe(other)))


def test_a_lost_file_or_manifest_is_written_again(source):
    prepare(recipe(source))
    before = Path("data/poses/manifest.csv").read_bytes()
    next(Path("data/poses/train/tree").iterdir()).unlink()
    assert prepare(recipe(source)).is_new
    Path("data/poses/manifest.csv").unlink()
    assert prepare(recipe(source)).is_new
    assert Path("data/poses/manifest.csv").read_bytes() == before


def test_damaged_photos_are_left_out_and_named(source):
    data = (source / "tree" / "3.jpg").read_bytes()
    (source / "tree" / "3.jpg").write_bytes(data[: len(data) // 2])
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


def test_near_duplicates_stay_in_one_split_and_conflicting_labels_are_reported(source):
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
    assert (summary.groups, summary.near_duplicates, summary.largest, summary.in_several_splits) == (4, 9, 3, 0)
    (conflict,) = summary.conflicts
    assert Counter(path.split("/")[1] for path in conflict) == {"tree": 2, "cobra": 1}
    assert "near duplicates under different labels: " + ", ".join(conflict) in str(summary)


def test_ordered_takes_the_file_order_and_warns_of_near_duplicates_in_several_splits(source):
    (source / "cobra" / "9.jpg").write_bytes((source / "cobra" / "0.jpg").read_bytes())
    summary = prepare(recipe(source, strategy="ordered"))
    dataset = manifest.read(Path("data/poses"))
    assert [photo.split for photo in dataset.photos if photo.class_ == "cobra"] == (
        ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    )
    assert summary.in_several_splits == 1
    warning = "warning: 1 group of near duplicates lies in more than one split, so test figures are too optimistic; "
    assert f"{warning}split.strategy" in str(summary)


def test_disjoint_from_leaves_out_near_duplicates_of_evaluation_photos(source, tmp_path):
    prepare(recipe(source, name="first"))
    first = manifest.read(Path("data/first"))
    evaluated = [photo for photo in first.photos if photo.split != "train"]
    trained = [photo for photo in first.photos if photo.split == "train"]
    second = class_folders(tmp_path / "second", {"a": 6, "b": 6}, first=500)
    for index, photo in enumerate(evaluated):
        copy = ImageOps.mirror(Image.open(first.folder / photo.path)).resize((90, 72))
        (second / "a" / f"copy{index}.png").write_bytes(encoded(copy, "PNG"))
    (second / "b" / "copy.jpg").write_bytes((first.folder / trained[0].path).read_bytes())
    summary = prepare(recipe(second, name="second", disjoint_from=["first"]))
    assert [file for file, _ in summary.left_out] == sorted(f"a/copy{index}.png" for index in range(10))
    assert {reason for _, reason in summary.left_out} == {"near duplicates of validation or test photos of first"}
    assert {name: sum(counts.values()) for name, counts in summary.counts.items()} == {"a": 6, "b": 7}
    assert not prepare(recipe(second, name="second", disjoint_from=["first"])).is_new
    prepare(recipe(source, name="first", seed=5))
    assert prepare(recipe(second, name="second", disjoint_from=["first"])).is_new


def test_disjoint_from_names_the_command_that_is_missing(source):
    with pytest.raises(ManifestError, match=r"data/other: run `python -m headstand explore PHOTOS --name other`"):
        prepare(recipe(source, disjoint_from=["other"]))
    assert not Path("data").exists()


def interrupted(monkeypatch, recipe, error):
    """Prepare until the fifth copy, which fails; the copies that were written."""
    write, written = Path.write_bytes, []

    def fail(path, data):
        if len(written) == 4:
            raise error
        written.append(path)
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(type(error)):
            prepare(recipe)
    return written


def test_a_full_disk_leaves_the_old_dataset_and_nothing_else(source, monkeypatch):
    prepare(recipe(source))
    before = snapshot(Path("data"))
    interrupted(monkeypatch, recipe(source, seed=2), OSError(errno.ENOSPC, "No space left on device"))
    assert snapshot(Path("data")) == before
    assert [path.name for path in Path("data").iterdir()] == ["poses"]
    assert prepare(recipe(source, seed=2)).is_new


def test_an_interrupted_run_leaves_the_old_dataset_and_is_resumed(source, monkeypatch):
    prepare(recipe(source, seed=2))
    expected = Path("data/poses/manifest.csv").read_bytes()
    prepare(recipe(source))
    before = snapshot(Path("data/poses"))
    written = interrupted(monkeypatch, recipe(source, seed=2), KeyboardInterrupt())
    assert snapshot(Path("data/poses")) == before
    assert sorted(path.name for path in Path("data").iterdir()) == [".poses.part", "poses"]
    written[0].write_bytes(b"half")  # as a killed copy would be
    times = {path.name: path.stat().st_mtime_ns for path in written}
    assert prepare(recipe(source, seed=2)).is_new
    assert Path("data/poses/manifest.csv").read_bytes() == expected
    assert [path.name for path in Path("data").iterdir()] == ["poses"]
    kept = [path.name for path in Path("data/poses").rglob("*.jpg") if times.get(path.name) == path.stat().st_mtime_ns]
    assert sorted(kept) == sorted(path.name for path in written[1:])
    for photo in manifest.read(Path("data/poses")).photos:
        assert digest(Path("data/poses") / photo.path) == photo.sha256


def test_leftovers_of_another_run_do_not_enter_the_dataset(source, monkeypatch):
    interrupted(monkeypatch, recipe(source, seed=2), KeyboardInterrupt())
    prepare(recipe(source))
    files = {path.relative_to("data/poses").as_posix() for path in Path("data/poses").rglob("*.jpg")}
    assert files == {photo.path for photo in manifest.read(Path("data/poses")).photos}


def test_a_photo_that_changes_between_reading_and_copying_is_reported_and_read_again(source, monkeypatch):
    path = source / "tree" / "3.jpg"
    prepare(recipe(source))
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if the note on it were of these bytes
    with pytest.raises(ChangedError, match=r"3\.jpg changed while it was being prepared"):
        prepare(recipe(source, seed=2))
    prepare(recipe(source, seed=2))
    assert digest(path) in {photo.sha256 for photo in manifest.read(Path("data/poses")).photos}


def test_photos_are_decoded_once_for_all_settings(source, monkeypatch):
    first = prepare(recipe(source))
    expected = Path("data/poses/manifest.csv").read_bytes()
    (source / "tree" / "99.jpg").write_bytes(b"broken")
    prepare(recipe(source))
    read = []
    monkeypatch.setattr("headstand.preparation.examination.examine", lambda data, _: read.append(data))
    again = prepare(recipe(source, name="again"))
    assert read == []
    assert again.counts == first.counts
    assert again.left_out[0][0] == "tree/99.jpg"
    assert Path("data/again/manifest.csv").read_bytes() == expected


def divided(tmp_path, counts, first=0):
    """Class folders under split folders, `{split: {class: count}}`."""
    for index, (split, classes) in enumerate(counts.items()):
        class_folders(tmp_path / "photos" / split, classes, first + 1000 * index)
    return tmp_path / "photos"


def test_a_divided_source_keeps_its_splits(tmp_path):
    counts = {"train": {"a": 4, "b": 5}, "valid": {"a": 2, "b": 1}, "test": {"a": 1, "b": 3}}
    source = divided(tmp_path, counts)
    summary = prepare(recipe(source))
    assert summary.counts == {
        "a": {"train": 4, "validation": 2, "test": 1},
        "b": {"train": 5, "validation": 1, "test": 3},
    }
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        assert {digest(path) for path in (source / name).rglob("*.jpg")} == {
            photo.sha256 for photo in manifest.read(Path("data/poses")).split(split)
        }
    assert summary.given == ["train", "validation", "test"]
    assert "splits: train, validation, test kept as in the source" in str(summary)


def test_a_missing_validation_is_cut_from_train(tmp_path):
    source = divided(tmp_path, {"train": {"a": 8, "b": 16}, "test": {"a": 3, "b": 2}})
    summary = prepare(recipe(source))
    assert summary.counts == {
        "a": {"train": 6, "validation": 2, "test": 3},
        "b": {"train": 12, "validation": 4, "test": 2},
    }
    assert {digest(path) for path in (source / "test").rglob("*.jpg")} == {
        photo.sha256 for photo in manifest.read(Path("data/poses")).split("test")
    }
    assert "splits: test kept as in the source" in str(summary)
    assert summary.in_several_splits == 0


def test_near_duplicates_across_given_splits_are_a_warning(tmp_path):
    source = divided(tmp_path, {"train": {"a": 8, "b": 8}, "test": {"a": 3, "b": 3}})
    for number in range(2):
        copy = ImageOps.mirror(Image.open(source / "train" / "a" / f"{number}.jpg"))
        (source / "test" / "a" / f"copy{number}.png").write_bytes(encoded(copy, "PNG"))
    summary = prepare(recipe(source))
    assert (summary.in_several_splits, summary.counts["a"]["test"]) == (2, 5)
    assert (
        "warning: 2 groups of near duplicates lie in more than one split, so test figures are too optimistic; "
        "the source divides them this way"
    ) in str(summary)


def test_groups_of_the_source_stay_in_one_split_with_their_near_duplicates(tmp_path, monkeypatch):
    source = class_folders(tmp_path / "photos", {"a": 12, "b": 12})
    (source / "b" / "copy.jpg").write_bytes((source / "a" / "0.jpg").read_bytes())
    belonging = {"a/0.jpg": "one", "a/1.jpg": "one", "b/3.jpg": "two", "b/4.jpg": "two", "b/copy.jpg": "two"}

    def listing(settings, seed):
        found = folder.class_folders(Path(settings.folder))
        items = [replace(i, group=belonging.get(i.path.relative_to(source).as_posix(), "")) for i in found.items]
        return replace(found, items=tuple(items))

    monkeypatch.setattr(folder, "listing", listing)
    summary = prepare(recipe(source))
    together = {digest(source / name) for name in belonging}
    photos = [photo for photo in manifest.read(Path("data/poses")).photos if photo.sha256 in together]
    assert len(photos) == 5
    assert len({photo.group for photo in photos}) == len({photo.split for photo in photos}) == 1
    assert (summary.groups, summary.near_duplicates, summary.largest, summary.related) == (1, 2, 2, 2)
    assert "groups: 2 defined by the source" in str(summary)
    (conflict,) = summary.conflicts  # groups of the source may have two labels, near duplicates may not
    assert len(conflict) == 2
    belonging["a/2.jpg"] = "one"
    assert prepare(recipe(source)).is_new


def test_a_table_is_prepared(tmp_path):
    source = class_folders(tmp_path / "photos", {"x": 20})
    labels = ["cobra", "tree"] * 10
    rows = [f"x/{index}.jpg,{label},{'test' if index < 6 else ''}" for index, label in enumerate(labels)]
    (source / "x" / "20.png").write_bytes(encoded(ImageOps.mirror(picture(1)), "PNG"))
    rows.append("x/20.png,tree,")
    (source / "labels.csv").write_text("\n".join(["path,label,split", *rows, "x/gone.jpg,tree,"]))
    chosen = Recipe(name="poses", source=Source(kind="table", table=str(source / "labels.csv")))
    summary = prepare(chosen)
    assert summary.counts == {
        "cobra": {"train": 5, "validation": 2, "test": 3},
        "tree": {"train": 5, "validation": 2, "test": 4},
    }
    assert (summary.given, summary.followers, summary.in_several_splits) == (["test"], 1, 0)
    assert "splits: 1 photo without one assigned to the split of near duplicates that have one in the source" in str(
        summary
    )
    assert summary.left_out == [("x/gone.jpg", "cannot be read (No such file or directory)")]
    (cobra,) = (p for p in manifest.read(Path("data/poses")).photos if p.sha256 == digest(source / "x" / "8.jpg"))
    assert cobra.class_ == "cobra"
    assert not prepare(chosen).is_new


def test_an_archive_is_prepared_as_its_folder_is(source, tmp_path, monkeypatch):
    prepare(recipe(source))
    table = Path("data/poses/manifest.csv").read_bytes()
    shutil.make_archive(str(tmp_path / "photos"), "gztar", source)
    assert prepare(recipe(tmp_path / "photos.tar.gz")).is_new
    assert Path("data/poses/manifest.csv").read_bytes() == table
    assert not prepare(recipe(tmp_path / "photos.tar.gz")).is_new


def test_leftovers_of_a_killed_run_are_removed(source):
    for leftover in (".poses.part", ".poses.old"):
        (Path("data") / leftover / "train").mkdir(parents=True)
    prepare(recipe(source))
    assert [path.name for path in Path("data").iterdir()] == ["poses"]


def test_a_folder_of_the_users_is_not_replaced(source):
    Path("data/poses").mkdir(parents=True)
    Path("data/poses/thesis.txt").write_text("dear")
    with pytest.raises(PrepareError, match=r"data/poses exists already and was not written by data_preparation\.py"):
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


def test_a_name_that_is_not_utf8_is_accepted(tmp_path):
    source = class_folders(tmp_path / "photos", {"a": 3, "b\udcff": 4})
    (source / "a" / "\udcff.jpg").write_bytes(b"broken")
    summary = prepare(recipe(source))
    str(summary).encode()
    assert list(summary.counts) == ["a", "b_"]
    assert not prepare(recipe(source)).is_new


@pytest.mark.parametrize("names", [("a?", "a*"), ("Tree", "tree")])
def test_classes_that_would_share_a_folder_are_reported(tmp_path, names):
    with pytest.raises(PrepareError, match="would share the folder"):
        prepare(recipe(class_folders(tmp_path / "photos", dict.fromkeys(names, 3))))


def test_a_class_without_a_usable_photo_is_reported_with_the_reason(source):
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
    from headstand.preparation import prepare as module

    monkeypatch.setattr(module, "DIGITS", 1)
    prepare(recipe(source))
    assert {path.name for path in Path("data/poses").glob("*/tree/tree0[12].jpg")} == {"tree01.jpg", "tree02.jpg"}


def test_a_damaged_record_is_written_again(source):
    prepare(recipe(source))
    for text in ("", "[]", '{"state": {}}', json.dumps({"state": None, "summary": 3})):
        Path("data/poses/prepared.json").write_text(text)
        assert prepare(recipe(source)).is_new


def test_the_manifest_is_plain_csv_with_the_contracts_columns(source):
    prepare(recipe(source))
    with Path("data/poses/manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "class", "split", "sha256", "width", "height", "group", "original name"]
    assert len(rows) == 25


def test_the_manifest_leads_from_each_copy_to_its_file_in_the_source(source):
    (source / "tree" / "9.jpg").rename(source / "tree" / "a,\r\x1b.jpg")
    prepare(recipe(source))
    photos = manifest.read(Path("data/poses")).photos
    named = {photo.original_name: photo for photo in photos}
    odd = named.pop(r"tree/a,\x0d\x1b.jpg")
    assert digest(source / "tree" / "a,\r\x1b.jpg") == odd.sha256
    assert len(named) == 24 and all(digest(source / name) == photo.sha256 for name, photo in named.items())


def test_a_validation_that_lacks_a_class_is_a_warning_and_can_be_cut_from_train(tmp_path):
    counts = {"train": {"a": 6, "b": 6}, "val": {"a": 2}, "test": {"a": 2, "b": 2}}
    source = divided(tmp_path, counts)
    summary = prepare(recipe(source))
    assert summary.counts["b"] == {"train": 6, "validation": 0, "test": 2}
    assert (
        "warning: the source's validation has no photo of b, so its averages are taken over the other classes; "
        "--split.recut validation cuts it from train instead"
    ) in summary.remarks()
    assert summary.layout == [
        "layout: splits train (train), validation (val), test (test); one folder per class in each"
    ]
    assert prepare(recipe(source)).layout == summary.layout
    chosen = recipe(source)
    again = prepare(chosen.model_copy(update={"split": chosen.split.model_copy(update={"recut": "validation"})}))
    assert again.counts == {
        "a": {"train": 6, "validation": 2, "test": 2},
        "b": {"train": 4, "validation": 2, "test": 2},
    }
    assert (again.is_new, again.given) == (True, ["test"])
    assert not any("warning" in line for line in again.remarks())


def test_a_test_that_lacks_a_class_is_a_warning_with_its_own_option(tmp_path):
    summary = prepare(recipe(divided(tmp_path, {"train": {"a": 6, "b": 6}, "test": {"a": 2}})))
    assert (
        "warning: the source's test has no photo of b, so its averages are taken over the other classes; "
        "--split.recut all divides all photos anew"
    ) in summary.remarks()


def test_a_train_that_lacks_a_class_is_an_error_before_anything_is_read(tmp_path, monkeypatch):
    source = divided(tmp_path, {"train": {"a": 6}, "test": {"a": 2, "b": 6}})
    chosen = recipe(source)
    with monkeypatch.context() as patched:
        patched.setattr("headstand.preparation.prepare.scan", None)
        with pytest.raises(SplitError, match=r"train lacks the class b: .*--split.recut all"):
            prepare(chosen)
    summary = prepare(chosen.model_copy(update={"split": chosen.split.model_copy(update={"recut": "all"})}))
    assert {name: sum(counts.values()) for name, counts in summary.counts.items()} == {"a": 8, "b": 6}


def test_frames_of_one_clip_can_be_divided_in_time(tmp_path):
    for number, name in enumerate(("a", "b")):
        image = picture(number, (160, 128))
        (tmp_path / "photos" / name).mkdir(parents=True)
        for frame in range(10):
            data = encoded(image.crop((frame // 3, 0, 150 + frame // 3, 128)), quality=90 - frame)
            (tmp_path / "photos" / name / f"frame{frame}.jpg").write_bytes(data)
    chosen = recipe(tmp_path / "photos")
    with pytest.raises(SplitError, match=r"class 'a' has 1 different photos only.*--split.strategy ordered"):
        prepare(chosen)
    summary = prepare(chosen.model_copy(update={"split": chosen.split.model_copy(update={"strategy": "ordered"})}))
    assert summary.counts["a"] == {"train": 6, "validation": 2, "test": 2}
    assert summary.in_several_splits == 2
    assert any("test figures are too optimistic" in line for line in summary.remarks())


def test_a_class_named_train_is_one_and_nothing_is_reported_as_ignored(tmp_path):
    summary = prepare(recipe(class_folders(tmp_path / "photos", {"train": 5, "car": 5, "plane": 5})))
    assert {name: sum(counts.values()) for name, counts in summary.counts.items()} == {"car": 5, "plane": 5, "train": 5}
    assert summary.ignored == 0
    assert not any(line.startswith("ignored") for line in summary.remarks())


def test_linked_classes_are_copied_as_photos(tmp_path):
    source = class_folders(tmp_path / "photos", {"a": 5})
    (source / "b").symlink_to(class_folders(tmp_path / "elsewhere", {"b": 5}, first=50) / "b")
    summary = prepare(recipe(source))
    assert summary.counts["b"] == {"train": 3, "validation": 1, "test": 1}
    assert not any(path.is_symlink() for path in Path("data/poses").rglob("*"))
    assert not prepare(recipe(source)).is_new


def test_an_archive_with_nested_splits_is_recognised(tmp_path):
    for number, split in enumerate(("training_set", "test_set")):
        class_folders(tmp_path / "in" / split / split, {"cats": 5, "dogs": 5}, first=100 * number)
    shutil.make_archive(str(tmp_path / "pets"), "zip", tmp_path / "in")
    summary = prepare(recipe(tmp_path / "pets.zip"))
    assert summary.counts == {name: {"train": 4, "validation": 1, "test": 5} for name in ("cats", "dogs")}
    assert summary.given == ["test"]
