import hashlib
import json
from pathlib import Path

import pytest

from headstand.prepare import manifest
from headstand.prepare.doctor import checkup, examine
from headstand.prepare.doctor.folder import ExaminationError
from headstand.prepare.manifest import SPLITS, Dataset, Photo
from tests.prepare.doctor.faults import encoded, photo, rotated


def prepared(folder: Path) -> Dataset:
    """Two classes of five photos a split; a test photo is a training photo turned by six degrees."""
    photos = []
    for place, split in enumerate(SPLITS):
        for pose in ("chair", "tree"):
            for number in range(5):
                leaks = (split, pose, number) == ("test", "tree", 0)
                image = rotated(photo("tree", 1), 6) if leaks else photo(pose, number + 5 * place)
                path = folder / split / pose / f"{pose}{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(image))
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                photos.append(Photo(path.relative_to(folder).as_posix(), pose, split, digest, *image.size, len(photos)))
    dataset = Dataset(folder, tuple(photos))
    manifest.write(dataset)
    return dataset


def test_tells_of_a_leak_that_the_split_could_not_see_and_once_only(tmp_path):
    folder = prepared(tmp_path / "yoga").folder
    lines = checkup(folder, ["left out: 3 photos"])
    assert len(lines) == 3
    assert lines[0].startswith("doctor: warning likely_leak") and "train/tree/tree1.jpg" in lines[0]
    assert lines[1] == "doctor: 30 usable photos in 2 classes; 0 errors, 1 warning, 0 notes"
    assert lines[2] == str(folder / "look/doctor.html")
    assert "left out: 3 photos" in (folder / "look/doctor.html").read_text()
    assert json.loads((folder / "look/doctor.json").read_text())["layout"] == "prepared"
    before = (folder / "look/doctor.html").stat().st_mtime_ns
    assert checkup(folder) == [str(folder / "look/doctor.html")]
    assert (folder / "look/doctor.html").stat().st_mtime_ns == before


def test_arrays_are_left_alone(tmp_path):
    photos = tuple(Photo(f"{split}/a/1.npy", "a", split, "0" * 64, 48, 64, 0) for split in SPLITS)
    manifest.write(Dataset(tmp_path, photos))
    assert checkup(tmp_path) == []
    with pytest.raises(ExaminationError, match="holds arrays"):
        examine(tmp_path)
