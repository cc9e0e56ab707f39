import json
from pathlib import Path

import pytest

from headstand.preparation.explore import groups
from headstand.preparation.explore.groups import Groups, sample
from headstand.preparation.manifest import Dataset, Photo


def dataset(folder: Path, photos: list[tuple[str, str, int]], **summary: object) -> Dataset:
    """Photos `train/CLASS/PLACE.jpg` of `(class, split, group)`, and what preparation noted down."""
    rows = [Photo(f"{s}/{name}/{n}.jpg", name, s, "0" * 64, 9, 9, group) for n, (name, s, group) in enumerate(photos)]
    if summary:
        (folder / "prepared.json").write_text(json.dumps({"summary": summary}))
    return Dataset(folder, tuple(rows))


def test_groups_of_two_and_more_come_largest_first(tmp_path):
    rows = [("tree", "train", 5)] + [("chair", "train", 1)] * 2 + [("cobra", "test", 2)] * 3
    found = Groups.of(dataset(tmp_path, rows))
    assert [[photo.group for photo in group] for group in found.groups] == [[2] * 3, [1] * 2]
    assert (found.in_several_splits, found.conflicts, found.left_out, found.related) == (0, [], {}, False)


def test_groups_in_several_splits_are_counted(tmp_path):
    rows = [("tree", "train", 1), ("tree", "test", 1), ("tree", "train", 2), ("tree", "train", 2)]
    assert Groups.of(dataset(tmp_path, rows)).in_several_splits == 1


def test_conflicts_are_those_that_preparation_recorded(tmp_path):
    rows = [("tree", "train", 1), ("chair", "train", 1), ("tree", "train", 2), ("cobra", "train", 2)]
    conflicts = [["train/tree/2.jpg", "train/cobra/3.jpg"]]
    found = Groups.of(dataset(tmp_path, rows, conflicts=conflicts, related=2))
    assert [[photo.path for photo in group] for group in found.conflicts] == conflicts
    assert found.related


def test_without_a_record_groups_of_several_labels_are_conflicts(tmp_path):
    rows = [("tree", "train", 1), ("chair", "train", 1), ("tree", "train", 2), ("tree", "train", 2)]
    found = Groups.of(dataset(tmp_path, rows))
    assert [[photo.class_ for photo in group] for group in found.conflicts] == [["tree", "chair"]]


def test_conflicts_of_missing_files_are_skipped(tmp_path):
    rows = [("tree", "train", 1), ("chair", "train", 2)]
    assert Groups.of(dataset(tmp_path, rows, conflicts=[["train/tree/0.jpg", "train/x/9.jpg"]])).conflicts == []


def test_left_out_files_are_sorted_by_how_frequent_their_reason_is(tmp_path):
    left_out = [["a.jpg", "damaged"], ["b.jpg", "near duplicates"], ["c.jpg", "near duplicates"]]
    found = Groups.of(dataset(tmp_path, [("tree", "train", 1)], left_out=left_out))
    assert list(found.left_out.items()) == [("near duplicates", ["b.jpg", "c.jpg"]), ("damaged", ["a.jpg"])]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"summary": 3}', '{"summary": {}}'])
def test_a_damaged_record_is_ignored(tmp_path, text):
    (tmp_path / "prepared.json").write_text(text)
    assert Groups.of(dataset(tmp_path, [("tree", "train", 1)])).left_out == {}


def test_some_members_of_a_large_group_are_shown_each_label_among_them(tmp_path):
    rows = [("chair", "train", 1)] * 40 + [("tree", "train", 1)] * 2
    group = list(dataset(tmp_path, rows).photos)
    shown = sample(group)
    assert [photo.class_ for photo in shown] == ["chair"] * (groups.MEMBERS - 2) + ["tree"] * 2
    assert shown == sorted(shown, key=group.index)
    assert sample(group[:5]) == group[:5]


def test_the_photos_to_show_are_those_of_the_largest_groups(tmp_path):
    rows = [("chair", "train", n // 2) for n in range(2 * groups.GROUPS + 6)] + [("tree", "train", 0)] * 40
    found = Groups.of(dataset(tmp_path, rows))
    assert len(found.groups) == groups.GROUPS + 3
    # The largest group has two labels: it is shown among the conflicts, too.
    assert len(found.photos) == 2 * groups.MEMBERS + 2 * (groups.GROUPS - 1)
