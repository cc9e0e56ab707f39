import os

import pytest

from headstand.preparation.sources import walk as module
from headstand.preparation.sources.walk import Walk, WalkError, is_system, walk


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def listed(root):
    found = walk(root)
    return sorted(found.files), sorted(found.folders), sorted(found.links)


def test_visible_files_and_folders_are_listed(tmp_path):
    for name in ("a/1.jpg", "a/b/2.txt", "a/.hidden.jpg", ".git/x", "Thumbs.db"):
        touch(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert listed(tmp_path) == (["Thumbs.db", "a/1.jpg", "a/b/2.txt"], ["a", "a/b", "empty"], [])
    assert walk(tmp_path).system == {".git": 1}


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir", "__MACOSX", ".thumbnails", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found",
        ".ipynb_checkpoints", ".AppleDouble", ".Trash-1000", "@Recycle", "LOST.DIR", "FOUND.000", "__pycache__",
        "Network Trash Folder",
    ],
)  # fmt: skip
def test_system_folders_are_skipped_and_their_files_counted(tmp_path, name):
    touch(tmp_path / "a" / name / "deep" / "1.jpg")
    touch(tmp_path / "a" / "1.jpg")
    found = walk(tmp_path)
    assert (found.files, found.folders, found.system) == (["a/1.jpg"], ["a"], {name: 1})
    assert found.lines() == [f"skipped: 1 file in system folders ({name})"]


@pytest.mark.parametrize("name", ["recycled", "thumbnails", "#hashtag", "@user", "$a", "lost", "found", "system"])
def test_class_names_are_not_taken_for_system_folders(name):
    assert not is_system(name)


def test_without_skipped_files_nothing_is_printed():
    assert Walk().lines() == []


def test_links_to_own_files_and_folders_are_followed(tmp_path):
    touch(tmp_path / "elsewhere" / "x" / "1.jpg")
    root = tmp_path / "root"
    touch(root / "a" / "1.jpg")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "2.jpg").symlink_to(tmp_path / "elsewhere" / "x" / "1.jpg")
    assert listed(root) == (["a/1.jpg", "a/2.jpg", "b/x/1.jpg"], ["a", "b", "b/x"], [])


def test_loops_broken_links_and_second_paths_are_counted(tmp_path):
    root = tmp_path / "root"
    touch(root / "z" / "1.jpg")
    (root / "a").symlink_to(root / "z")  # `z` itself is listed, although it comes later
    (root / "z" / "up").symlink_to(root)
    (root / "z" / "self.jpg").symlink_to("self.jpg")
    (root / "z" / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
    assert listed(root) == (["z/1.jpg"], ["z"], ["a", "z/gone.jpg", "z/self.jpg", "z/up"])


def test_links_that_double_at_each_level_end(tmp_path):
    for level in range(30):
        folder = tmp_path / f"level{level}"
        folder.mkdir()
        for name in ("a", "b"):
            (folder / name).symlink_to(tmp_path / f"level{level + 1}")
    touch(tmp_path / "level30" / "1.jpg")
    files, _, links = listed(tmp_path / "level0")
    assert (len(files), len(links)) == (1, 30)


def test_links_to_files_of_another_user_are_not_followed(tmp_path, monkeypatch):
    other = touch(tmp_path / "elsewhere" / "1.jpg")
    root = tmp_path / "root"
    inside = touch(root / "a" / "1.jpg")
    (root / "a" / "2.jpg").symlink_to(other)
    (root / "a" / "3.jpg").symlink_to(inside)
    (root / "b").symlink_to(other.parent)
    assert module._may_follow(str(root / "b"), str(root), {other.stat().st_uid})
    assert not module._may_follow(str(root / "b"), str(root), {other.stat().st_uid + 1})
    assert module._may_follow(str(root / "a" / "3.jpg"), os.path.realpath(root), {other.stat().st_uid + 1})
    follow = module._may_follow
    monkeypatch.setattr(module, "_may_follow", lambda path, home, owners: follow(path, home, {-1}))
    assert listed(root) == (["a/1.jpg", "a/3.jpg"], ["a"], ["a/2.jpg", "b"])


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(WalkError, match=r"nowhere cannot be read: No such file"):
        walk(tmp_path / "nowhere")
