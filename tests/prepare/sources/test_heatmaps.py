import io
import pickle
import struct
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstand.prepare import manifest
from headstand.prepare.prepare import PrepareError, prepare
from headstand.prepare.sources import heatmaps
from headstand.prepare.sources.heatmaps import HeatmapError, listing, read
from headstand.recipe import Recipe, Source, Split

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def heatmap(mark: float = 0.0) -> np.ndarray:
    """Noise, `float32 [1, 17, 64, 48]`; its first number is `mark`, by which the tests know the class."""
    values = RNG.normal(0, 0.01, heatmaps.SHAPE).astype(np.float32)
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
            tmp_path, class_, *(f"{who}_{class_}{n}" for who in ("girl1", "girl2", "guy1") for n in (1, 2)), "stranger"
        )
    found = listing(source(tmp_path, r"^(girl|guy)(\d+)"), 1)
    assert set(groups(found)) == {"girl/1", "girl/2", "guy/1", ""}
    assert groups(found)["girl/1"] == {"girl1_chair1", "girl1_chair2", "girl1_tree1", "girl1_tree2"}
    whole = listing(source(tmp_path, r"^(?:girl|guy)\d+"), 1)
    assert set(groups(whole)) == {"girl1", "girl2", "guy1", ""}


@pytest.mark.parametrize(
    "pattern", ["(", "[a-", "(?P<x", "a{2,1}", "*", r"\1", "(?z)", "(" * 5000, "a{99999999999999}"]
)
def test_a_pattern_that_is_none_is_told_in_one_sentence(tmp_path, pattern):
    names(tmp_path, "chair", "a", "b", "c")
    names(tmp_path, "tree", "a", "b", "c")
    with pytest.raises(HeatmapError, match="is not a regular expression") as caught:
        listing(source(tmp_path, pattern), 1)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_names_that_reveal_too_few_sequences_are_told(tmp_path):
    names(tmp_path, "down", *(f"down{number:05d}" for number in range(20)))
    names(tmp_path, "up", "a1", "b1", "c1")
    with pytest.raises(HeatmapError, match=r"class 'down' are by their names of 1 sequence only .*--source\.groups"):
        listing(source(tmp_path), 1)
    assert len(groups(listing(source(tmp_path, ".+"), 1))) == 23
    with pytest.raises(HeatmapError, match=r"by source\.groups = '\^\(\[a-z\]\)' of 1 sequence only"):
        listing(source(tmp_path, "^([a-z])"), 1)


def test_reads_by_mapping_and_never_writes(tmp_path):
    values = heatmap(5)
    found = read(write(tmp_path / "a.npy", values))
    assert isinstance(found, np.memmap)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0, 0, 0] = 1
    np.testing.assert_array_equal(read(write(tmp_path / "f.npy", np.asfortranarray(values))), values)
    with (tmp_path / "2.npy").open("wb") as file:
        np.lib.format.write_array(file, values, version=(2, 0))
    np.testing.assert_array_equal(read(tmp_path / "2.npy"), values)


class Trap:
    def __reduce__(self):
        return (Path("sprung").touch, ())


def saved(values: np.ndarray) -> bytes:
    data = io.BytesIO()
    np.save(data, values, allow_pickle=True)
    return data.getvalue()


def headed(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


GOOD = saved(np.zeros(heatmaps.SHAPE, np.float32))

BAD = {
    "empty": (b"", "not a NumPy array file"),
    "text": (b"not an array", "not a NumPy array file"),
    "a zip": (b"PK\x03\x04" + bytes(100), "not a NumPy array file"),
    "a pickle": (pickle.dumps(Trap()), "not a NumPy array file"),
    "objects": (saved(np.array([Trap()], dtype=object)), "its numbers are object, not float32"),
    "double precision": (saved(np.zeros(heatmaps.SHAPE)), "its numbers are float64, not float32"),
    "big-endian": (saved(np.zeros(heatmaps.SHAPE, ">f4")), "its numbers are >f4, not float32"),
    "no batch": (
        saved(np.zeros(heatmaps.SHAPE[1:], np.float32)),
        r"its shape is \[17, 64, 48\], not \[1, 17, 64, 48\]",
    ),
    "too few joints": (saved(np.zeros((1, 16, 64, 48), np.float32)), r"its shape is \[1, 16, 64, 48\]"),
    "cut short": (GOOD[:-1], "208,895 bytes of numbers, not 208,896: it is cut short"),
    "too long": (GOOD + b"\0", "208,897 bytes of numbers"),
    "no numbers": (GOOD[:128], "0 bytes of numbers"),
    "huge": (GOOD + bytes(2**20), "it has 1,257,600 bytes; a heatmap has 208,896"),
    "a header that calls": (headed("__import__('pathlib').Path('sprung').touch()"), "header is damaged"),
    "a deep header": (headed("-" * 9000 + "1"), "header is damaged"),
    "brackets": (headed("(" * 9000), "header is damaged"),
    "an endless shape": (headed("{'descr': '<f4', 'fortran_order': False, 'shape': (1e9,)}"), "header is damaged"),
    "format 3": (b"\x93NUMPY\x03\x00" + GOOD[8:], "not a NumPy array file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_heatmap_is_refused_with_the_reason(tmp_path, name):
    data, message = BAD[name]
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(HeatmapError, match=message):
        read(tmp_path / "a.npy")
    assert not Path("sprung").exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.dictionaries(st.integers(0, 140), st.integers(0, 255), min_size=1, max_size=4))
def test_a_damaged_header_is_refused_or_harmless(tmp_path, changes):
    data = bytearray(GOOD)
    for place, byte in changes.items():
        data[place] = byte
    (tmp_path / "a.npy").write_bytes(data)
    try:
        values = read(tmp_path / "a.npy")
    except HeatmapError:
        return
    assert (values.shape, values.dtype) == (heatmaps.SHAPE, np.float32)


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
        values = read(dataset.folder / photo.path)
        assert dataset.classes[int(values[0, 0, 0, 0]) - 1] == photo.class_
        assert (photo.width, photo.height) == (48, 64)
        sides[photo.class_, photo.group].add(photo.split)
    assert len(sides) == 12
    assert all(len(splits) == 1 for splits in sides.values())
    for class_ in dataset.classes:
        assert {photo.split for photo in dataset.photos if photo.class_ == class_} == {"train", "validation", "test"}


def test_bad_files_are_left_out_with_the_reason_and_copies_stay_together(tmp_path):
    folder = frames(tmp_path / "source")
    (folder / "tree" / "girl0_tree070.npy").write_bytes(GOOD[:1000])
    values = heatmap(2)
    values[0, 3, 4, 5] = np.nan
    values[0, 3, 4, 6] = np.inf
    write(folder / "tree" / "girl1_tree071.npy", values)
    copy = (folder / "chair" / "girl0_chair070.npy").read_bytes()
    (folder / "chair" / "girl5_chair099.npy").write_bytes(copy)
    summary = prepare(recipe(folder))
    reasons = dict(summary.left_out)
    assert set(reasons) == {"tree/girl0_tree070.npy", "tree/girl1_tree071.npy"}
    assert "cut short" in reasons["tree/girl0_tree070.npy"]
    assert reasons["tree/girl1_tree071.npy"] == "2 of its numbers are infinite or not a number"
    assert sum(summary.counts["tree"].values()) == 16
    dataset = manifest.read(Path("data/maps"))
    joined = {photo.group for photo in dataset.photos if (dataset.folder / photo.path).read_bytes() == copy}
    assert len(joined) == 1
    (group,) = joined
    assert sum(photo.group == group for photo in dataset.photos) == 7
    assert not prepare(recipe(folder)).made


def test_a_class_of_bad_files_is_told(tmp_path):
    folder = frames(tmp_path / "source")
    for path in (folder / "tree").iterdir():
        write(path, np.zeros((17, 64, 48), np.float32))
    with pytest.raises(PrepareError, match=r"class 'tree' .*tree/girl0_tree070\.npy: its shape is \[17, 64, 48\]"):
        prepare(recipe(folder))
    assert not Path("data/maps").exists()
