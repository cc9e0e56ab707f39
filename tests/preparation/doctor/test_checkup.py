import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from headstand.preparation import geometric_matches, manifest, preparation_record
from headstand.preparation.doctor import checkup, errors, examine
from headstand.preparation.doctor.checked_folder import ExaminationError
from headstand.preparation.geometric_matches import MatchedPair
from headstand.preparation.manifest import SPLITS, Dataset, Photo
from headstand.preparation.summary import Summary
from headstand.recipe import Source
from tests.preparation.doctor.faults import encoded, photo, rotated


def prepared(folder: Path) -> Dataset:
    """Two classes of five photos a split; a test photo is a training photo turned by six degrees."""
    photos = []
    for index, split in enumerate(SPLITS):
        for pose in ("chair", "tree"):
            for number in range(5):
                leaks = (split, pose, number) == ("test", "tree", 0)
                image = rotated(photo("tree", 1), 6) if leaks else photo(pose, number + 5 * index)
                path = folder / split / pose / f"{pose}{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(image))
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                photos.append(Photo(path.relative_to(folder).as_posix(), pose, split, digest, *image.size, len(photos)))
    dataset = Dataset(folder, tuple(photos))
    manifest.write(dataset)
    return dataset


def test_a_leak_that_the_split_missed_is_reported_once(tmp_path):
    folder = prepared(tmp_path / "yoga").folder
    lines = checkup(folder, ["left out: 3 photos"])
    assert len(lines) == 3
    assert lines[0].startswith("doctor: warning likely_leak") and "train/tree/tree1.jpg" in lines[0]
    assert lines[1] == "doctor: 30 usable photos in 2 classes; 0 errors, 1 warning, 0 notes"
    assert lines[2] == str(folder / "explore/doctor.html")
    assert "left out: 3 photos" in (folder / "explore/doctor.html").read_text()
    assert json.loads((folder / "explore/doctor.json").read_text())["layout"] == "prepared"
    before = (folder / "explore/doctor.html").stat().st_mtime_ns
    assert checkup(folder) == [str(folder / "explore/doctor.html")]
    assert (folder / "explore/doctor.html").stat().st_mtime_ns == before


def test_another_manifest_is_examined_regardless_of_modification_times(tmp_path):
    dataset = prepared(tmp_path / "yoga")
    page = checkup(dataset.folder)[-1]
    os.utime(page, ns=(2**62, 2**62))
    assert checkup(dataset.folder) == [page]
    manifest.write(replace(dataset, photos=dataset.photos[1:]))
    assert checkup(dataset.folder)[-2].startswith("doctor: 29 usable photos in 2 classes; 0 errors, ")
    assert json.loads((dataset.folder / "explore/doctor.json").read_text())["photos"] == 29
    (dataset.folder / "explore/doctor.json").write_text("{")
    assert len(checkup(dataset.folder)) > 1


def recorded(dataset: Dataset, *pairs: MatchedPair) -> Path:
    """The folder, with the geometric matches in its preparation record."""
    preparation_record.write(dataset, Source(folder="photos"), {}, Summary(dataset.folder, {}), pairs)
    return dataset.folder


def likely_leaks(folder: Path) -> list[list[str]]:
    findings = json.loads((folder / "explore/doctor.json").read_text())["findings"]
    return [case["files"] for found in findings if found["code"] == "likely_leak" for case in found["cases"]]


def test_geometric_matches_are_those_of_the_preparation(tmp_path, monkeypatch):
    dataset = prepared(tmp_path / "yoga")
    monkeypatch.setattr(geometric_matches, "matches", lambda *_: pytest.fail("searched again"))
    folder = recorded(dataset, MatchedPair(6, 20, 0.9, "turned"), MatchedPair(0, 29, 0.95, "cropped"))
    assert "likely_leak" in checkup(folder)[0]
    assert likely_leaks(folder) == [
        [dataset.photos[0].path, dataset.photos[29].path],
        [dataset.photos[6].path, dataset.photos[20].path],
    ]


def test_an_unusable_file_does_not_change_the_other_pairs(tmp_path, monkeypatch):
    dataset = prepared(tmp_path / "yoga")
    monkeypatch.setattr(geometric_matches, "matches", lambda *_: pytest.fail("searched again"))
    folder = recorded(dataset, MatchedPair(3, 20, 0.9, "turned"), MatchedPair(6, 21, 0.9, "turned"))
    (folder / dataset.photos[3].path).unlink()
    checkup(folder)
    assert likely_leaks(folder) == [[dataset.photos[6].path, dataset.photos[21].path]]


ROTATED = ["train/tree/tree1.jpg", "test/tree/tree0.jpg"]


def test_geometric_matches_are_searched_again_where_a_file_has_changed(tmp_path):
    dataset = prepared(tmp_path / "yoga")
    folder = recorded(dataset)
    (folder / dataset.photos[12].path).write_bytes(encoded(photo("chair", 40)))
    checkup(folder)
    assert likely_leaks(folder) == [ROTATED]


def test_geometric_matches_are_searched_again_under_another_manifest(tmp_path):
    dataset = prepared(tmp_path / "yoga")
    folder = recorded(dataset)
    manifest.write(Dataset(folder, tuple(replace(row, group=row.group + 1) for row in dataset.photos)))
    checkup(folder)
    assert likely_leaks(folder) == [ROTATED]


def test_without_recorded_pairs_the_doctor_searches_for_them(tmp_path):
    found = examine(recorded(prepared(tmp_path / "yoga"))).findings
    assert [list(case.files) for one in found if one.kind.code == "likely_leak" for case in one.cases] == [ROTATED]


def test_arrays_are_not_examined(tmp_path):
    photos = tuple(Photo(f"{split}/a/1.npy", "a", split, "0" * 64, 48, 64, 0) for split in SPLITS)
    manifest.write(Dataset(tmp_path, photos))
    assert checkup(tmp_path) == []
    with pytest.raises(ExaminationError, match="contains arrays"):
        examine(tmp_path)


def test_the_report_of_an_earlier_version_is_read(tmp_path):
    folder = prepared(tmp_path / "yoga").folder
    page = checkup(folder)[-1]
    path = folder / "explore/doctor.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"version": 1, "errors": 3}))
    assert (checkup(folder), errors(folder)) == ([page], 3)
