from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from headstand.poses import action_source, heatmap_file, keypoints
from headstand.poses.action_source import FILES, draw
from headstand.poses.figure.actions import ACTIONS
from headstand.poses.figure.poses import LIMITS
from headstand.poses.heatmap_augmentation import mirror
from headstand.poses.heatmap_file import JOINTS
from headstand.preparation import manifest
from headstand.preparation.prepare import prepare
from headstand.recipe import Recipe, Source


def test_seventeen_actions_with_anatomically_possible_angles():
    assert len(ACTIONS) == 17
    assert all(name.startswith("action_") for name in ACTIONS)
    for variants in ACTIONS.values():
        for variant in variants:
            for name, (mean, spread) in variant.angles.items():
                low, high = LIMITS[name.removeprefix("left_").removeprefix("right_")]
                assert low <= mean <= high and spread > 0, name


def test_the_same_arguments_give_the_same_numbers_in_any_order():
    keys = [("action_up", 3, 1, 0), ("action_sit", 3, 1, 0), ("action_up", 4, 1, 0), ("action_up", 3, 2, 0)]
    samples = [draw(*key) for key in keys]
    action_source._person.cache_clear()
    for key, maps in zip(reversed(keys), reversed(samples), strict=True):
        np.testing.assert_array_equal(draw(*key), maps)
    assert len({maps.tobytes() for maps in samples}) == len(keys)


def test_peaks_are_where_the_body_has_its_joints(monkeypatch):
    monkeypatch.setattr(action_source, "LOST", 0.0)
    above = 0
    for person in range(20):
        maps = draw("action_up", person, 1, 0)
        assert (maps.shape, maps.dtype) == (heatmap_file.SHAPE, np.float32)
        assert 0.3 < maps.max(axis=(1, 2)).mean() < 0.95
        rows = dict(zip(JOINTS, maps.reshape(17, -1).argmax(axis=1) // heatmap_file.WIDTH, strict=True))
        assert rows["left_ankle"] > rows["left_hip"] > rows["left_shoulder"]
        above += rows["left_wrist"] < rows["nose"]
    assert above == 20


def test_files_are_in_one_folder_per_action_and_name_the_person(tmp_path: Path):
    action_source.write(tmp_path / "generated", {"action_up": FILES + 1, "action_down": 2}, seed=1)
    names = sorted(path.relative_to(tmp_path / "generated").as_posix() for path in tmp_path.rglob("*.npy"))
    assert names[:3] == ["action_down/person000_00.npy", "action_down/person000_01.npy", "action_up/person000_00.npy"]
    assert names[-1] == "action_up/person001_00.npy" and len(names) == FILES + 3
    array = np.load(tmp_path / "generated" / names[-1])
    assert (array.shape, array.dtype) == ((1, 17, 64, 48), np.float32)
    np.testing.assert_array_equal(array[0], draw("action_up", 1, 1, 0))
    before = (tmp_path / "generated" / names[0]).stat().st_mtime_ns
    (tmp_path / "generated" / names[1]).unlink()
    action_source.write(tmp_path / "generated", {"action_up": FILES + 1, "action_down": 2}, seed=1)
    assert (tmp_path / "generated" / names[0]).stat().st_mtime_ns == before
    assert (tmp_path / "generated" / names[1]).is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["generated"]


def test_each_person_is_in_one_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))
    three = {name: ACTIONS[name] for name in ("action_down", "action_sit", "action_up")}
    monkeypatch.setattr(action_source, "ACTIONS", three)
    prepare(Recipe(name="generated", source=Source(kind="actions", per_class=4 * FILES)))
    dataset = manifest.read(Path("data/generated"))
    assert len(dataset.photos) == 3 * 4 * FILES
    splits: dict[str, set[str]] = {}
    for photo in dataset.photos:
        splits.setdefault(photo.group, set()).add(photo.split)
    assert len(splits) == 4
    assert all(len(found) == 1 for found in splits.values())


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))
    with pytest.raises(action_source.ActionError, match=r"cannot write the heatmaps to .*HEADSTAND_CACHE"):
        action_source.fetch(Source(kind="actions", per_class=1), 1)


def test_actions_of_new_people_are_classified_by_joints_and_not_by_the_nearest_heatmap():
    people, files = 12, 1
    maps = np.stack([draw(name, p, 1, i) for name in ACTIONS for p in range(people) for i in range(files)])
    labels = np.repeat(np.arange(17), people * files)
    person = np.tile(np.repeat(np.arange(people), files), 17)
    known, unseen = person < 8, person >= 8
    flat = maps.reshape(len(maps), -1)
    squares = (flat**2).sum(axis=1)
    distances = squares[unseen, None] + squares[None, known] - 2 * flat[unseen] @ flat[known].T
    nearest = (labels[known][distances.argmin(axis=1)] == labels[unseen]).mean()
    network = keypoints.network()
    mirrored = np.asarray(network(mirror(maps[known]), training=False))
    features = np.asarray(network(maps, training=False))
    ridge = RidgeClassifier(10.0).fit(np.concatenate([features[known], mirrored]), np.tile(labels[known], 2))
    message = ridge.score(features[unseen], labels[unseen])
    assert nearest < 0.5 < 0.75 < message
