from pathlib import Path

import numpy as np
import pytest

from headstand.preparation import geometric_matches, grouping, manifest, preparation_record
from headstand.preparation.listing import Item
from headstand.preparation.manifest import Dataset, Photo
from headstand.preparation.prepare import prepare
from headstand.preparation.scan import ScannedFile, examine
from headstand.recipe import Recipe, Source
from tests.preparation.doctor.faults import cropped, encoded, healthy, photo, rotated


def candidates(folder: Path) -> list[ScannedFile]:
    return [ScannedFile(Item(path.parent.name, path), examine(path)) for path in sorted(folder.rglob("*.jpg"))]


def partners(photos: list[ScannedFile], groups: np.ndarray) -> list[set[str]]:
    members = [
        {p.item.path.name for p, g in zip(photos, groups, strict=True) if g == k} for k in range(groups.max() + 1)
    ]
    return [names for names in members if len(names) > 1]


def test_rotated_and_cropped_copies_share_a_group_with_the_original(tmp_path):
    folder = healthy(tmp_path, ("tree",))
    (folder / "tree/turned.jpg").write_bytes(encoded(rotated(photo("tree", 2), 5)))
    (folder / "tree/cropped.jpg").write_bytes(encoded(cropped(photo("tree", 4), 0.1, 0.1, 0.1, 0.1)))
    # A near duplicate of the turned copy and not of the first picture: the three are still one group.
    (folder / "tree/chained.jpg").write_bytes(encoded(rotated(photo("tree", 2), 5).resize((100, 100))))
    photos = candidates(folder)
    groups, pairs = grouping.near_duplicate_groups(photos)
    assert {frozenset(names) for names in partners(photos, groups)} == {
        frozenset({"2.jpg", "turned.jpg", "chained.jpg"}),
        frozenset({"4.jpg", "cropped.jpg"}),
    }
    assert list(dict.fromkeys(groups.tolist())) == list(range(7))
    assert pairs is not None
    assert {tuple(sorted(photos[n].item.path.name for n in (pair.first, pair.second))) for pair in pairs} >= {
        ("2.jpg", "turned.jpg"),
        ("4.jpg", "cropped.jpg"),
    }


def test_too_many_photos_are_grouped_by_near_duplicates_alone(tmp_path, monkeypatch):
    folder = healthy(tmp_path, ("tree",))
    (folder / "tree/turned.jpg").write_bytes(encoded(rotated(photo("tree", 2), 5)))
    monkeypatch.setattr(geometric_matches, "MOST", 5)
    groups, pairs = grouping.near_duplicate_groups(candidates(folder))
    assert groups.tolist() == list(range(8))
    assert pairs is None


def test_without_photos_there_are_no_groups():
    groups, pairs = grouping.near_duplicate_groups([])
    assert groups.shape == (0,)
    assert pairs == []


@pytest.mark.parametrize("split", ["validation", "test"])
def test_disjoint_splits_leave_out_all_geometric_matches_of_evaluation_photos(tmp_path, split):
    other = healthy(tmp_path / "other", ("tree",), 3)
    rows = tuple(
        Photo(f"tree/{n}.jpg", "tree", split if n else "train", examine(other / f"tree/{n}.jpg").sha256, 1, 1, n)
        for n in range(3)
    )
    folder = healthy(tmp_path / "mine", ("chair",), 4)
    for n in range(3):
        (folder / f"chair/turned{n}.jpg").write_bytes(encoded(rotated(photo("tree", n), 4)))
    (folder / "chair/copy.jpg").write_bytes((other / "tree/2.jpg").read_bytes())
    kept, left_out = grouping.disjoint_splits(candidates(folder), {"first": Dataset(other, rows)})
    assert {p.item.path.name for p, _ in left_out} == {"turned1.jpg", "turned2.jpg", "copy.jpg"}
    assert {reason for _, reason in left_out} == {"near duplicates of validation or test photos of first"}
    # The other's training photos bar nothing.
    assert {p.item.path.name for p in kept} == {"0.jpg", "1.jpg", "2.jpg", "3.jpg", "turned0.jpg"}


def test_a_preparation_puts_geometric_matches_into_one_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = healthy(tmp_path / "photos", count=9)
    for pose in ("chair", "tree"):
        for n in range(5):
            (folder / f"{pose}/turned{n}.jpg").write_bytes(encoded(rotated(photo(pose, n), 5)))
    prepare(Recipe(name="poses", source=Source(folder=str(folder))))
    dataset = manifest.read(Path("data/poses"))
    splits: dict[int, set[str]] = {}
    for row in dataset.photos:
        splits.setdefault(row.group, set()).add(row.split)
    assert len(splits) == 18  # of 28 photos
    assert all(len(names) == 1 for names in splits.values())
    found = preparation_record.pairs(dataset)
    assert found
    assert all(dataset.photos[pair.first].group == dataset.photos[pair.second].group for pair in found)
