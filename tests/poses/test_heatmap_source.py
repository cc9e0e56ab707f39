from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from headstand.poses.heatmap_file import decode
from headstand.poses.heatmap_source import SequenceError, listing
from headstand.preparation import manifest
from headstand.preparation.prepare import PrepareError, prepare
from headstand.recipe import Recipe, Source, Split

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def heatmap(mark: float = 0.0) -> np.ndarray:
    """Noise, `float32 [1, 17, 64, 48]`; its first number is `mark`, by which the tests know the class."""
    values = RNG.normal(0, 0.01, (1, 17, 64, 48)).astype(np.float32)
    values[0, 0, 0, 0] = mark
    return values


def write(path: Path, values: object = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, heatmap() if values is None else values, allow_pickle=True)
    return path


def frames(root: Path, classes: tuple[str, ...] = ("chair", "tree"), sequences: int = 6, each: int = 3) -> Path:
    """`each` frames of each sequence, as `root/chair/girl1_chair070.npy`; each class has its mark."""
    for mark, class_ in enumerate(classes, 1):
        for person in range(sequences):
            for frame in range(each):
                write(root / class_ / f"girl{person}_{class_}{70 + frame:03d}.npy", heatmap(mark))
    return root


def source(folder: Path, groups: str | None = None) -> Source:
    return Source(kind="heatmaps", folder=str(folder), groups=groups)


def groups(found) -> dict[str, set[str]]:
    named = defaultdict(set)
    for item in found.items:
        named[item.group].add(item.path.stem)
    return dict(named)


def names(root: Path, class_: str, *stems: str) -> None:
    for stem in stems:
        path = root / class_ / f"{stem}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")  # listing opens nothing


def test_frames_of_one_sequence_share_a_group_without_a_file_being_opened(tmp_path):
    names(
        tmp_path, "chair", "girl1_chair070", "girl1_chair071", "girl1_chair071_flipped", "guy_chair1", "girl2_chair070"
    )
    names(tmp_path, "tree", "11", "11_flipped", "girl1_tree070", "clip-3 frame 0001", "clip-3 frame 0002", "portrait")
    found = listing(source(tmp_path), 1)
    assert found.classes == ("chair", "tree")
    assert groups(found) == {
        "chair/girl1_chair": {"girl1_chair070", "girl1_chair071", "girl1_chair071_flipped"},
        "chair/girl2_chair": {"girl2_chair070"},
        "chair/guy_chair": {"guy_chair1"},
        "tree/11": {"11", "11_flipped"},
        "tree/girl1_tree": {"girl1_tree070"},
        "tree/clip-3 frame": {"clip-3 frame 0001", "clip-3 frame 0002"},
        "tree/portrait": {"portrait"},
    }


def test_folders_inside_a_class_are_sequences(tmp_path):
    for clip in ("a", "b", "c"):
        names(tmp_path / "jump", clip, "0001", "0002")
        names(tmp_path / "walk", clip, "0001")
    found = listing(source(tmp_path, "^([^/]+)/"), 1)
    assert {(item.class_, item.group) for item in found.items} == {(c, g) for c in ("jump", "walk") for g in "abc"}


def test_the_recipes_pattern_names_persons_over_all_classes(tmp_path):
    for class_ in ("chair", "tree"):
        names(
            tmp_path,
            class_,
            *(f"{prefix}_{class_}{n}" for prefix in ("girl1", "girl2", "guy1") for n in (1, 2)),
            "other person",
        )
    found = listing(source(tmp_path, r"^(girl|guy)(\d+)"), 1)
    assert set(groups(found)) == {"girl/1", "girl/2", "guy/1", ""}
    assert groups(found)["girl/1"] == {"girl1_chair1", "girl1_chair2", "girl1_tree1", "girl1_tree2"}
    ungrouped = listing(source(tmp_path, r"^(?:girl|guy)\d+"), 1)
    assert set(groups(ungrouped)) == {"girl1", "girl2", "guy1", ""}


@pytest.mark.parametrize(
    "pattern", ["(", "[a-", "(?P<x", "a{2,1}", "*", r"\1", "(?z)", "(" * 5000, "a{99999999999999}"]
)
def test_an_invalid_pattern_is_reported_in_one_sentence(tmp_path, pattern):
    names(tmp_path, "chair", "a", "b", "c")
    names(tmp_path, "tree", "a", "b", "c")
    with pytest.raises(SequenceError, match="is not a regular expression") as excinfo:
        listing(source(tmp_path, pattern), 1)
    assert "\n" not in str(excinfo.value)
    assert len(str(excinfo.value)) < 500


def test_too_few_sequences_in_the_names_are_reported(tmp_path):
    names(tmp_path, "down", *(f"down{number:05d}" for number in range(20)))
    names(tmp_path, "up", "a1", "b1", "c1")
    with pytest.raises(SequenceError, match=r"class 'down' form only 1 sequence by the file names .*--source\.groups"):
        listing(source(tmp_path), 1)
    assert len(groups(listing(source(tmp_path, ".+"), 1))) == 23
    with pytest.raises(SequenceError, match=r"form only 1 sequence by source\.groups = '\^\(\[a-z\]\)'"):
        listing(source(tmp_path, "^([a-z])"), 1)


def recipe(folder: Path, seed: int = 1, **keys: str) -> Recipe:
    return Recipe(name="maps", seed=seed, source=Source(kind="heatmaps", folder=str(folder), **keys), split=Split())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_every_shuffle_each_label_is_its_files_folder_and_its_content(tmp_path, seed):
    prepare(recipe(frames(tmp_path / "source"), seed))
    dataset = manifest.read(Path("data/maps"))
    assert dataset.classes == ("chair", "tree")
    assert len(dataset.photos) == 36
    sides: dict[tuple[str, int], set[str]] = defaultdict(set)
    for photo in dataset.photos:
        assert Path(photo.path).parts[:2] == (photo.split, photo.class_)
        values = decode(dataset.folder / photo.path)
        assert dataset.classes[int(values[0, 0, 0]) - 1] == photo.class_
        assert (photo.width, photo.height) == (48, 64)
        sides[photo.class_, photo.group].add(photo.split)
    assert len(sides) == 12
    assert all(len(splits) == 1 for splits in sides.values())
    for class_ in dataset.classes:
        assert {photo.split for photo in dataset.photos if photo.class_ == class_} == {"train", "validation", "test"}


def test_bad_files_are_left_out_with_the_reason_and_copies_stay_together(tmp_path):
    folder = frames(tmp_path / "source")
    (folder / "tree" / "girl0_tree070.npy").write_bytes((folder / "tree" / "girl0_tree071.npy").read_bytes()[:1000])
    values = heatmap(2)
    values[0, 3, 4, 5] = np.nan
    values[0, 3, 4, 6] = np.inf
    write(folder / "tree" / "girl1_tree071.npy", values)
    copy = (folder / "chair" / "girl0_chair070.npy").read_bytes()
    (folder / "chair" / "girl5_chair099.npy").write_bytes(copy)
    summary = prepare(recipe(folder))
    reasons = dict(summary.left_out)
    assert set(reasons) == {"tree/girl0_tree070.npy", "tree/girl1_tree071.npy"}
    assert "truncated" in reasons["tree/girl0_tree070.npy"]
    assert reasons["tree/girl1_tree071.npy"] == "2 of its values are not finite"
    assert sum(summary.counts["tree"].values()) == 16
    dataset = manifest.read(Path("data/maps"))
    matching = {photo.group for photo in dataset.photos if (dataset.folder / photo.path).read_bytes() == copy}
    assert len(matching) == 1
    (group,) = matching
    assert sum(photo.group == group for photo in dataset.photos) == 7
    assert not prepare(recipe(folder)).is_new


def test_a_class_of_damaged_files_is_reported(tmp_path):
    folder = frames(tmp_path / "source")
    for path in (folder / "tree").iterdir():
        write(path, np.zeros((17, 64, 47), np.float32))
    with pytest.raises(PrepareError, match=r"class 'tree' .*tree/girl0_tree070\.npy: its shape is \[17, 64, 47\]"):
        prepare(recipe(folder))
    assert not Path("data/maps").exists()
