import pytest

from headstand.prepare.folder import FolderError, fetch, listing
from headstand.recipe import RecipeError, Source
from tests.prepare.photos import class_folders


def touch(path, *names):
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        (path / name).write_bytes(b"x")
    return path


def test_lists_photos_by_class_in_natural_order(tmp_path):
    touch(tmp_path / "tree", "pose10.jpg", "pose2.JPEG", "pose1.png")
    touch(tmp_path / "Cobra", "b.webp", "A.gif")
    touch(tmp_path / "tree" / "more", "z.bmp")
    found = listing(tmp_path)
    assert found.classes == ("Cobra", "tree")
    assert [(name, path.relative_to(tmp_path).as_posix()) for name, path in found.photos] == [
        ("Cobra", "Cobra/A.gif"), ("Cobra", "Cobra/b.webp"),
        ("tree", "tree/more/z.bmp"), ("tree", "tree/pose1.png"),
        ("tree", "tree/pose2.JPEG"), ("tree", "tree/pose10.jpg"),
    ]  # fmt: skip


def test_goes_down_nested_single_folders(tmp_path):
    inner = tmp_path / "archive" / "yoga poses"
    touch(inner / "tree", "a.jpg")
    touch(inner / "cobra", "a.jpg")
    touch(tmp_path / "__MACOSX" / "archive", "._a.jpg")
    assert listing(tmp_path).root == inner


def test_hidden_files_are_passed_over_and_others_counted(tmp_path):
    touch(tmp_path, "README.md", ".DS_Store")
    touch(tmp_path / ".git" / "x", "a.jpg")
    touch(tmp_path / "tree", "a.jpg", ".hidden.jpg", "notes.txt", "Thumbs.db")
    touch(tmp_path / "tree" / ".thumbnails", "a.jpg")
    touch(tmp_path / "cobra", "a.jpg", "labels.csv")
    found = listing(tmp_path)
    assert [path.name for _, path in found.photos] == ["a.jpg", "a.jpg"]
    assert (found.ignored, found.links) == (4, 0)


def test_links_out_of_the_source_are_not_followed(tmp_path):
    secret = touch(tmp_path / "elsewhere", "secret.jpg")
    source = tmp_path / "photos"
    touch(source / "tree", "a.jpg")
    touch(source / "cobra", "a.jpg")
    (source / "tree" / "out.jpg").symlink_to(secret / "secret.jpg")
    (source / "tree" / "folder").symlink_to(secret)
    (source / "third").symlink_to(secret)
    (source / "tree" / "inside.jpg").symlink_to(source / "cobra" / "a.jpg")
    found = listing(source)
    assert [path.name for _, path in found.photos] == ["a.jpg", "a.jpg", "inside.jpg"]
    assert (found.classes, found.links) == (("cobra", "tree"), 2)


def test_a_source_that_is_a_link_itself_is_fine(tmp_path):
    real = class_folders(tmp_path / "real", {"a": 1, "b": 1})
    (tmp_path / "link").symlink_to(real)
    assert len(listing(tmp_path / "link").photos) == 2


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "there are no class folders in .*it holds no folders"),
        ({"": ["a.jpg"]}, "there are no class folders in .*lie loose in it"),
        ({"tree": ["a.jpg"]}, "there is one class only in .*, 'tree'"),
        ({"tree": ["a.jpg"], "cobra": []}, "class folder .*cobra holds no photos"),
        ({"tree": ["a.jpg"], "cobra": ["a.txt"]}, "class folder .*cobra holds no photos"),
        ({"train/tree": ["a.jpg"], "Test/tree": ["a.jpg"]}, "holds Test, train: it is split already"),
        ({"only": []}, "only holds no photos"),
    ],
)
def test_a_wrong_layout_is_told(tmp_path, layout, message):
    for folder, names in layout.items():
        touch(tmp_path / folder, *names)
    with pytest.raises(FolderError, match=message):
        listing(tmp_path)


def test_fetch_finds_the_folder_under_headstand_data(tmp_path, monkeypatch):
    touch(tmp_path / "photos" / "tree", "a.jpg")
    monkeypatch.setenv("HEADSTAND_DATA", str(tmp_path))
    assert fetch(Source(kind="folder", folder="photos"), 1) == tmp_path / "photos"
    assert fetch(Source(kind="folder", folder=tmp_path / "photos"), 1) == tmp_path / "photos"


def test_fetch_refuses_what_is_no_folder(tmp_path):
    touch(tmp_path, "file")
    with pytest.raises(FolderError, match="file is a file; the source must be a folder"):
        fetch(Source(kind="folder", folder=tmp_path / "file"), 1)
    with pytest.raises(RecipeError, match=r"there is no .*nowhere"):
        fetch(Source(kind="folder", folder=tmp_path / "nowhere"), 1)
