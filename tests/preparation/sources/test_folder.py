import shutil

import pytest

from headstand.preparation.listing import Item
from headstand.preparation.sources import folder, walk
from headstand.preparation.sources.archive import ArchiveError
from headstand.preparation.sources.folder import listing
from headstand.preparation.sources.layout import FolderError
from headstand.recipe import RecipeError, Source
from tests.preparation.photos import class_folders


def touch(path, *names):
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        (path / name).write_bytes(b"x")
    return path


def test_lists_photos_by_class_in_natural_order(tmp_path):
    touch(tmp_path / "tree", "pose10.jpg", "pose2.JPEG", "pose1.png")
    touch(tmp_path / "Cobra", "b.webp", "A.gif")
    touch(tmp_path / "tree" / "more", "z.bmp")
    found = folder.class_folders(tmp_path)
    assert found.classes == ("Cobra", "tree")
    assert [(item.class_, item.path.relative_to(tmp_path).as_posix()) for item in found.items] == [
        ("Cobra", "Cobra/A.gif"), ("Cobra", "Cobra/b.webp"),
        ("tree", "tree/more/z.bmp"), ("tree", "tree/pose1.png"),
        ("tree", "tree/pose2.JPEG"), ("tree", "tree/pose10.jpg"),
    ]  # fmt: skip


def test_nested_single_folders_are_descended(tmp_path):
    inner = tmp_path / "archive" / "yoga poses"
    touch(inner / "tree", "a.jpg")
    touch(inner / "cobra", "a.jpg")
    touch(tmp_path / "__MACOSX" / "archive", "._a.jpg")
    assert folder.class_folders(tmp_path).root == inner


def test_hidden_files_are_skipped_and_others_counted(tmp_path):
    touch(tmp_path, "README.md", ".DS_Store")
    touch(tmp_path / ".git" / "x", "a.jpg")
    touch(tmp_path / "tree", "a.jpg", ".hidden.jpg", "notes.txt", "Thumbs.db")
    touch(tmp_path / "tree" / ".thumbnails", "a.jpg")
    touch(tmp_path / "cobra", "a.jpg", "labels.csv")
    found = folder.class_folders(tmp_path)
    assert [item.path.name for item in found.items] == ["a.jpg", "a.jpg"]
    assert (found.ignored, found.links) == (4, 0)


def test_links_to_folders_and_photos_of_the_same_user_are_followed(tmp_path):
    outside = touch(tmp_path / "elsewhere", "far.jpg")
    source = tmp_path / "photos"
    touch(source / "tree", "a.jpg")
    touch(source / "cobra", "a.jpg")
    (source / "tree" / "out.jpg").symlink_to(outside / "far.jpg")
    (source / "tree" / "inside.jpg").symlink_to(source / "cobra" / "a.jpg")
    (source / "third").symlink_to(outside)
    (source / "again").symlink_to(source / "tree")  # listed as `tree`
    found = folder.class_folders(source)
    assert [item.path.relative_to(source).as_posix() for item in found.items] == [
        "cobra/a.jpg", "third/far.jpg", "tree/a.jpg", "tree/inside.jpg", "tree/out.jpg",
    ]  # fmt: skip
    assert (found.classes, found.links, found.ignored) == (("cobra", "third", "tree"), 1, 0)


def test_a_source_of_links_to_another_users_files_reports_them(tmp_path, monkeypatch):
    touch(tmp_path / "elsewhere", "far.jpg")
    source = touch(tmp_path / "photos" / "tree").parent
    touch(source / "cobra")
    for name in ("tree", "cobra"):
        (source / name / "1.jpg").symlink_to(tmp_path / "elsewhere" / "far.jpg")
    monkeypatch.setattr(walk, "_may_follow", lambda path, home, owners: False)
    with pytest.raises(FolderError, match=r"cobra holds no photos.*\(links that are not followed: 2\)"):
        folder.class_folders(source)


def test_system_folders_are_skipped_and_counted(tmp_path):
    touch(tmp_path / "tree", "a.jpg", "b.jpg")
    touch(tmp_path / "cobra", "a.jpg")
    touch(tmp_path / "@eaDir" / "tree", "SYNOPHOTO_THUMB_XL.jpg", "SYNOPHOTO_THUMB_M.jpg")
    touch(tmp_path / "tree" / "@eaDir" / "a.jpg", "SYNOPHOTO_THUMB_XL.jpg")
    touch(tmp_path / "$RECYCLE.BIN", "c.jpg")
    touch(tmp_path / "cobra" / ".ipynb_checkpoints", "a-checkpoint.jpg")
    found = folder.class_folders(tmp_path)
    assert (found.classes, len(found.items), found.ignored) == (("cobra", "tree"), 3, 0)
    assert found.lines == (
        "layout: one folder per class",
        "skipped: 5 files in system folders ($RECYCLE.BIN, .ipynb_checkpoints, @eaDir)",
    )


def test_class_names_are_compared_in_one_normal_form(tmp_path):
    composed, decomposed = "Caf\u00e9", "Cafe\u0301"
    for name in (f"train/{composed}", "train/tea", f"test/{decomposed}", "test/tea"):
        touch(tmp_path / name, "1.jpg")
    found = folder.class_folders(tmp_path)
    assert (found.classes, len(found.items)) == ((composed, "tea"), 4)


def test_a_copy_is_left_out_where_the_files_are_equal_and_refused_where_not(tmp_path):
    for subfolder in (tmp_path, tmp_path / "photos"):
        for name in ("a", "b"):
            touch(subfolder / name, "1.jpg")
    found = folder.class_folders(tmp_path)
    assert (found.classes, len(found.items)) == (("a", "b"), 2)
    assert found.lines[1] == "left out: 2 photos in photos, a copy of the folders beside it"
    (tmp_path / "photos" / "a" / "1.jpg").write_bytes(b"another")
    with pytest.raises(FolderError, match=r"photos/a/1.jpg looks like a copy of .*/a/1.jpg.*--source.layout classes"):
        folder.class_folders(tmp_path)
    assert folder.class_folders(tmp_path, layout="classes").classes == ("a", "b", "photos")


def test_a_source_that_is_a_link_itself_is_fine(tmp_path):
    real = class_folders(tmp_path / "real", {"a": 1, "b": 1})
    (tmp_path / "link").symlink_to(real)
    assert len(folder.class_folders(tmp_path / "link").items) == 2


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "there are no class folders in .*it holds no folders"),
        ({"": ["a.jpg"]}, "there are no class folders in .*are directly in it"),
        ({"tree": ["a.jpg"]}, "there is one class only in .*, 'tree'"),
        ({"tree": ["a.jpg"], "cobra": []}, "class folder .*cobra holds no photos"),
        ({"tree": ["a.jpg"], "cobra": ["a.txt"]}, "class folder .*cobra holds no photos"),
        ({"only": []}, "only holds no photos"),
    ],
)
def test_a_wrong_layout_is_reported(tmp_path, layout, message):
    for subfolder, names in layout.items():
        touch(tmp_path / subfolder, *names)
    with pytest.raises(FolderError, match=message):
        folder.class_folders(tmp_path)


def listed(root):
    found = folder.class_folders(root)
    return found.classes, [(item.class_, item.path.relative_to(root).as_posix(), item.split) for item in found.items]


@pytest.mark.parametrize(
    "names", [("train", "validation", "test"), ("Training", "val", "testing"), ("TRAIN", "valid", "Test")]
)
def test_a_divided_folder_keeps_its_splits(tmp_path, names):
    train, validation, test = names
    touch(tmp_path / train / "tree", "2.jpg", "10.jpg")
    touch(tmp_path / train / "cobra", "a.jpg")
    touch(tmp_path / train, "README.txt")
    for subfolder in (validation, test):
        for name in ("tree", "cobra"):
            touch(tmp_path / subfolder / name, "b.jpg")
    assert listed(tmp_path) == (
        ("cobra", "tree"),
        [
            ("cobra", f"{train}/cobra/a.jpg", "train"),
            ("cobra", f"{validation}/cobra/b.jpg", "validation"),
            ("cobra", f"{test}/cobra/b.jpg", "test"),
            ("tree", f"{train}/tree/2.jpg", "train"),
            ("tree", f"{train}/tree/10.jpg", "train"),
            ("tree", f"{validation}/tree/b.jpg", "validation"),
            ("tree", f"{test}/tree/b.jpg", "test"),
        ],
    )
    assert folder.class_folders(tmp_path).ignored == 1


def test_a_divided_folder_may_be_nested_and_lack_a_split(tmp_path):
    for subfolder in ("train", "test"):
        for name in ("a", "b"):
            touch(tmp_path / "archive" / subfolder / name, "1.jpg")
    _, items = listed(tmp_path)
    assert [(path.partition("/")[2], split) for _, path, split in items] == [
        ("train/a/1.jpg", "train"), ("test/a/1.jpg", "test"), ("train/b/1.jpg", "train"), ("test/b/1.jpg", "test"),
    ]  # fmt: skip


def test_a_train_folder_alone_is_a_folder_of_classes(tmp_path):
    touch(tmp_path / "train" / "a", "1.jpg")
    touch(tmp_path / "train" / "b", "1.jpg")
    _, items = listed(tmp_path)
    assert [split for _, _, split in items] == ["", ""]


def test_a_class_may_be_called_train(tmp_path):
    touch(tmp_path / "train", "1.jpg")
    touch(tmp_path / "bus", "1.jpg")
    classes, items = listed(tmp_path)
    assert classes == ("bus", "train")
    assert [split for _, _, split in items] == ["", ""]
    assert folder.class_folders(tmp_path).ignored == 0


def test_photos_of_a_split_without_class_folders_are_left_out(tmp_path):
    for name in ("train/a", "train/b", "test"):
        touch(tmp_path / name, "1.jpg")
    found = folder.class_folders(tmp_path)
    assert [(item.class_, item.split) for item in found.items] == [("a", ""), ("b", "")]
    assert found.lines == (
        "layout: splits train (train); one folder per class in each",
        "left out: 1 photo in test without labels",
    )


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"val/a": ["1.jpg"], "test/a": ["1.jpg"]}, "holds test, val only: .* needs train"),
        ({"train/a": ["1.jpg"], "training/a": ["1.jpg"]}, "two folders for train, train, training: join them"),
        ({"train/a": ["1.jpg"], "test/a": ["1.jpg"], "docs": ["1.jpg"]}, "holds test, train and beside them docs"),
        ({"train/a": ["1.jpg"], "test/a": ["1.jpg"]}, "there is one class only in .*, 'a'"),
        ({"train/a": ["1.jpg"], "train/b": [], "test/a": ["1.jpg"], "test/b": ["1.jpg"]}, "train/b holds no photos"),
    ],
)
def test_a_wrong_division_is_reported(tmp_path, layout, message):
    for subfolder, names in layout.items():
        touch(tmp_path / subfolder, *names)
    with pytest.raises(FolderError, match=message):
        folder.class_folders(tmp_path)


def test_other_extensions_can_be_requested(tmp_path):
    touch(tmp_path / "a", "1.npy", "1.jpg")
    touch(tmp_path / "b", "1.npy")
    found = folder.class_folders(tmp_path, (".npy",))
    assert ([item.path.name for item in found.items], found.ignored) == (["1.npy", "1.npy"], 1)


def test_listing_finds_the_folder_under_headstand_data(tmp_path, monkeypatch):
    class_folders(tmp_path / "photos", {"a": 1, "b": 1})
    monkeypatch.setenv("HEADSTAND_DATA", str(tmp_path))
    for name in ("photos", str(tmp_path / "photos")):
        found = listing(Source(kind="folder", folder=name), 1)
        assert found.items == (
            Item("a", tmp_path / "photos" / "a" / "0.jpg"), Item("b", tmp_path / "photos" / "b" / "0.jpg"),
        )  # fmt: skip


def test_listing_reads_archives(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))
    class_folders(tmp_path / "in" / "photos", {"a": 1, "b": 1})
    shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path / "in")
    found = listing(Source(kind="folder", folder=str(tmp_path / "photos.zip")), 1)
    assert found.classes == ("a", "b")
    assert found.root.is_relative_to(tmp_path / "cache" / "archives")
    assert found.items[0].path.read_bytes() == (tmp_path / "in/photos/a/0.jpg").read_bytes()


def test_listing_refuses_other_paths_than_folders_and_archives(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))
    touch(tmp_path, "file")
    with pytest.raises(ArchiveError, match="file is neither a folder nor a zip or tar archive"):
        listing(Source(kind="folder", folder=str(tmp_path / "file")), 1)
    with pytest.raises(RecipeError, match=r"there is no .*nowhere"):
        listing(Source(kind="folder", folder=str(tmp_path / "nowhere")), 1)
