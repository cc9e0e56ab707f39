import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from headstand.images import decode
from headstand.preparation.doctor import examine, fix
from headstand.preparation.doctor.fix import FixError
from tests.preparation.doctor.faults import encoded, healthy, photo, rotated


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def record(folder: Path) -> dict[str, tuple[str, str, str]]:
    with (folder / "doctor.csv").open(newline="") as file:
        return {row["file"]: (row["action"], row["target"], row["reason"]) for row in csv.DictReader(file)}


def test_a_healthy_folder_is_copied_as_it_is(tmp_path):
    folder = healthy(tmp_path / "photos")
    fix(examine(folder), tmp_path / "clean")
    copy = tree(tmp_path / "clean")
    assert copy.pop("doctor.csv")
    assert copy == tree(folder)


def test_files_are_left_out_renamed_and_converted(tmp_path):
    folder = healthy(tmp_path / "photos")
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "tree/empty.jpg").write_bytes(b"")
    (folder / "tree/a.png").write_bytes(encoded(photo("tree", 20)))
    (folder / "tree/a.jpg").write_bytes(encoded(photo("tree", 21)))
    (folder / "tree/turned.jpg").write_bytes(encoded(photo("tree", 22).resize((200, 120)), exif=exif))
    (folder / "tree/inks.jpg").write_bytes(encoded(photo("tree", 23).convert("CMYK")))
    (folder / "loose.jpg").write_bytes(encoded(photo("tree", 24)))
    shutil.copy(folder / "tree/1.jpg", folder / "tree/9.jpg")
    before = tree(folder)
    fix(examine(folder), tmp_path / "clean")
    assert tree(folder) == before
    actions = record(tmp_path / "clean")
    assert actions["tree/empty.jpg"] == ("left out", "", "0 bytes")
    assert actions["tree/9.jpg"] == ("left out", "", "identical with tree/1.jpg")
    assert actions["loose.jpg"] == ("left out", "", "outside of all classes")
    assert actions["tree/turned.jpg"] == ("converted", "tree/turned.png", "EXIF turn")
    assert actions["tree/inks.jpg"] == ("converted", "tree/inks.png", "CMYK")
    # The two that would share a name do not.
    assert {actions["tree/a.png"][1], actions["tree/a.jpg"][1]} == {"tree/a.jpg", "tree/a-2.jpg"}
    for name, (_, target, _) in actions.items():
        if target:
            assert np.array_equal(decode(tmp_path / "clean" / target), decode(folder / name))
    assert {name for name in tree(tmp_path / "clean") if name != "doctor.csv"} == {
        row[1] for row in actions.values()
    } - {""}
    assert not examine(tmp_path / "clean").findings


def test_a_conflict_is_left_out_unless_most_agree(tmp_path):
    folder = healthy(tmp_path / "photos", ("chair", "cobra", "tree"))
    (folder / "chair/tied.jpg").write_bytes(encoded(photo("tree", 0), quality=60))
    for number, quality in enumerate((50, 60)):
        (folder / f"tree/more{number}.jpg").write_bytes(encoded(photo("tree", 1), quality=quality))
    (folder / "cobra/wrong.jpg").write_bytes(encoded(ImageOps.mirror(photo("tree", 1)), quality=70))
    fix(examine(folder), tmp_path / "clean")
    actions = record(tmp_path / "clean")
    assert {name for name, row in actions.items() if row[0] == "left out"} == {
        "chair/tied.jpg",
        "tree/0.jpg",
        "cobra/wrong.jpg",
    }
    assert actions["cobra/wrong.jpg"][2] == "most near duplicates have the class tree"


def test_evaluation_photos_are_kept_and_their_copies_in_training_left_out(tmp_path):
    folder = tmp_path / "photos"
    for split in ("train", "test"):
        for pose in ("chair", "tree"):
            (folder / split / pose).mkdir(parents=True)
            for number in range(5):
                (folder / split / pose / f"{number}.jpg").write_bytes(
                    encoded(photo(pose, number + 10 * (split == "test")))
                )
    (folder / "train/tree/leak.jpg").write_bytes(encoded(photo("tree", 12), quality=70))
    (folder / "train/tree/likely.jpg").write_bytes(encoded(rotated(photo("tree", 13), 6)))
    fix(examine(folder), tmp_path / "clean")
    actions = record(tmp_path / "clean")
    assert actions["train/tree/leak.jpg"] == ("left out", "", "near duplicates are in test")
    assert actions["train/tree/likely.jpg"][0] == "copied"  # a judgement is left to people
    assert actions["test/tree/2.jpg"][0] == "copied"


def test_the_target_must_be_new_and_elsewhere(tmp_path):
    folder = healthy(tmp_path / "photos", count=3)
    report = examine(folder)
    (tmp_path / "there").mkdir()
    for target, reason in ((tmp_path / "there", "exists already"), (folder / "clean", "is inside")):
        with pytest.raises(FixError, match=reason):
            fix(report, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "there"]
    assert len(tree(folder)) == 6


def test_an_interrupted_copy_leaves_nothing(tmp_path, monkeypatch):
    folder = healthy(tmp_path / "photos", count=3)
    report = examine(folder)
    (folder / "tree/2.jpg").unlink()
    with pytest.raises(FileNotFoundError):
        fix(report, tmp_path / "clean")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
