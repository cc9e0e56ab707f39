import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from headstand.images import decode
from headstand.preparation.prepare import prepare
from headstand.preparation.sources import png_files
from headstand.preparation.sources.arrays import ArraysError, listing
from headstand.recipe import RecipeError, Source, load


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pixels(count: int, seed: int = 1, shape: tuple[int, ...] = (9, 7, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write(folder: Path, data: np.ndarray, labels: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "data.npy", data)
    np.save(folder / "labels.npy", labels)
    return folder


def read(folder: Path, **options: object):
    return listing(Source.model_validate({"kind": "arrays", "folder": str(folder), **options}), 1)


def test_every_image_is_written_losslessly_under_its_number(tmp_path):
    data, labels = pixels(30), np.arange(30) % 11
    found = read(write(tmp_path / "a", data, labels))
    assert found.classes == tuple(str(number) for number in range(11))
    assert [item.class_ for item in found.items] == [str(label) for label in np.sort(labels)]
    assert len({item.path for item in found.items}) == 30
    for item in found.items:
        index = int(item.path.stem)
        np.testing.assert_array_equal(decode(item.path), data[index])
        assert item.class_ == str(labels[index])
        assert item.split == ""
        assert item.path.is_relative_to(found.root)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_floats_from_0_to_1_become_the_nearest_of_256(dtype, tmp_path):
    data = pixels(4)
    found = read(write(tmp_path / "a", (data / 255).astype(dtype), np.array([0, 1, 0, 1])))
    for item in found.items:
        np.testing.assert_array_equal(decode(item.path), data[int(item.path.stem)])
    between = np.full((2, 4, 4, 3), [100.4 / 255, 100.6 / 255, 1.0005], dtype=np.float32)
    found = read(write(tmp_path / "b", between, np.array([0, 1])))
    assert decode(found.items[0].path)[0, 0].tolist() == [100, 101, 255]


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1)])
def test_grey_pictures_get_three_equal_colours(shape, tmp_path):
    data = pixels(2, shape=shape)
    found = read(write(tmp_path / "a", data, np.array([0, 1])))
    np.testing.assert_array_equal(decode(found.items[1].path), np.repeat(data[1].reshape(9, 7, 1), 3, axis=2))


@pytest.mark.parametrize("dtype", ["u1", "i8", "f4", "?"])
def test_one_hot_labels(dtype, tmp_path):
    labels = np.array([2, 0, 2, 1, 0])
    found = read(write(tmp_path / "a", pixels(5), np.eye(4, dtype=dtype)[labels]))
    assert {int(item.path.stem): item.class_ for item in found.items} == dict(enumerate(map(str, labels)))
    assert found.classes == ("0", "1", "2")


def test_a_column_of_numbers_is_not_one_hot(tmp_path):
    found = read(write(tmp_path / "a", pixels(3), np.array([[1], [0], [1]])))
    assert [item.class_ for item in found.items] == ["0", "1", "1"]


def test_folders_of_splits_are_kept(tmp_path):
    for number, (name, count) in enumerate((("train", 6), ("VAL", 4), ("test", 2))):
        write(tmp_path / "a" / name, pixels(count, number), np.arange(count) % 2)
    found = read(tmp_path / "a")
    assert Counter(item.split for item in found.items) == {"train": 6, "validation": 4, "test": 2}
    for item in found.items:
        seed = ["train", "validation", "test"].index(item.split)
        np.testing.assert_array_equal(decode(item.path), pixels(6, seed)[int(item.path.stem)])


def test_names_are_read_from_a_file_in_the_folder(tmp_path):
    folder = write(tmp_path / "a", pixels(4), np.array([0, 1, 1, 0]))
    (folder / "meta").write_bytes(
        pickle.dumps({"fine_label_names": ["oak", "elm"], "coarse_label_names": ["fish", "bird"]}, 2)
    )
    assert read(folder).classes == ("bird", "fish")
    assert read(folder, labels="fine").classes == ("elm", "oak")
    (folder / "labels.txt").write_text("süß\n  tree pose\n\n")
    assert {item.path.stem: item.class_ for item in read(folder).items}["0000000"] == "süß"
    (folder / "labels.txt").write_text("one\n")
    with pytest.raises(ArraysError, match="gives 1 different names, and the labels have 2 classes"):
        read(folder)


def test_a_second_call_writes_nothing_and_other_arrays_get_another_folder(tmp_path, monkeypatch):
    folder = write(tmp_path / "a", pixels(4), np.array([0, 1, 1, 0]))
    found = read(folder)
    calls = []
    monkeypatch.setattr(png_files.Image, "fromarray", calls.append)
    assert read(folder) == found
    assert not calls
    monkeypatch.undo()
    write(folder, pixels(5, 2), np.array([0, 1, 1, 0, 1]))
    assert len(read(folder).items) == 5


OBJECTS = np.array([{"a": 1}, None], dtype=object)


@pytest.mark.parametrize(
    ("data", "labels", "sentence"),
    [
        (pixels(3), np.array([0, 1]), "3 pictures in data.npy and 2 labels"),
        (pixels(2).astype(np.int64), np.array([0, 1]), "holds int64; pixels are uint8"),
        (pixels(2).astype(np.float32), np.array([0, 1]), "floats from 0 to 255; as floats pixels go from 0 to 1"),
        (pixels(2) / 127.5 - 1, np.array([0, 1]), "floats from -1 to 1"),
        (np.full((2, 4, 4, 3), np.nan), np.array([0, 1]), "floats from nan to nan"),
        (pixels(2, shape=(4, 4, 2)), np.array([0, 1]), "shape 2 x 4 x 4 x 2"),
        (pixels(2, shape=(3,)), np.array([0, 1]), "shape 2 x 3;"),
        (pixels(0), np.array([0, 1]), "shape 0 x 9 x 7 x 3"),
        (pixels(2, shape=(1, 5000)), np.array([0, 1]), "side of 5000 pixels"),
        (pixels(2), np.array([0.0, 1.0]), "holds float64"),
        (pixels(2), np.array([-1, 1]), "labels from -1 to 1"),
        (pixels(2), np.array([0, 10**12]), "classes are numbered from 0"),
        (pixels(2), np.array(["a", "b"]), "labels are whole numbers"),
        (pixels(2), np.array([[1, 0], [1, 1]]), "not one-hot: row 1"),
        (pixels(2), np.array([[0.9, 0.1], [0, 1]]), "not one-hot: row 0"),
        (pixels(2), np.array([[2, 0], [0, 1]]), "not one-hot: row 0"),
        (pixels(2), np.array([1, 1]), "one class only, '1'"),
        (pixels(2), OBJECTS, "labels.npy is no array of numbers .* Python objects, which can be programs"),
        (OBJECTS, np.array([0, 1]), "data.npy is no array of numbers .* Python objects"),
    ],
)
def test_invalid_images_and_labels_are_reported(data, labels, sentence, tmp_path):
    with pytest.raises(ArraysError, match=sentence):
        read(write(tmp_path / "a", data, labels))


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["data.npy", "labels.npy"])
def test_objects_and_plain_pickles_are_not_run(name, tmp_path):
    array = np.array([Malicious(tmp_path / "created")], dtype=object)
    folder = write(tmp_path / "a", pixels(2), np.array([0, 1]))
    for content in (lambda path: np.save(path, array), lambda path: path.write_bytes(pickle.dumps(array))):
        content(folder / name)
        with pytest.raises(ArraysError, match=f"{name} is no array of numbers"):
            read(folder)
    assert not (tmp_path / "created").exists()


def test_damaged_files_are_reported(tmp_path):
    folder = write(tmp_path / "a", pixels(2), np.array([0, 1]))
    original = (folder / "data.npy").read_bytes()
    huge = original.replace(b"(2, 9, 7, 3)", b"(9**9,9, 7)")
    for content in (original[:-1], original[:40], b"", b"text", original.replace(b"2, 9", b"9999999999, 9"[:4]), huge):
        (folder / "data.npy").write_bytes(content)
        with pytest.raises(ArraysError, match=r"data\.npy"):
            read(folder)
    (folder / "data.npy").write_bytes(original)
    (folder / "labels.npy").unlink()
    with pytest.raises(ArraysError, match=r"there is no .*labels.npy"):
        read(folder)
    np.savez(folder / "x.npz", a=np.zeros(2))
    (folder / "x.npz").rename(folder / "labels.npy")
    with pytest.raises(ArraysError, match="archive of arrays"):
        read(folder)


def test_other_folders_are_reported(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ArraysError, match=r"holds no data.npy and labels.npy, and no folders"):
        read(tmp_path / "a")
    write(tmp_path / "b" / "train", pixels(2), np.array([0, 1]))
    write(tmp_path / "b" / "rest", pixels(2), np.array([0, 1]))
    with pytest.raises(ArraysError, match=r"rest holds data.npy, and its name is not the name of a split"):
        read(tmp_path / "b")
    write(tmp_path / "c" / "val", pixels(2), np.array([0, 1]))
    write(tmp_path / "c" / "valid", pixels(2), np.array([0, 1]))
    with pytest.raises(ArraysError, match=r"valid holds data.npy, and its name is a second folder for validation"):
        read(tmp_path / "c")


def test_from_arrays_to_a_prepared_dataset(workplace, cache, monkeypatch):
    monkeypatch.setenv("HEADSTAND_CACHE", str(cache))
    write(workplace / "a" / "train", pixels(20), np.arange(20) % 2)
    write(workplace / "a" / "test", pixels(6, 2), np.arange(6) % 2)
    recipe = load("yoga6", ["--source.kind", "arrays", "--source.folder", "a", "--name", "small"])
    summary = prepare(recipe)
    assert {name: counts["test"] for name, counts in summary.counts.items()} == {"0": 3, "1": 3}
    assert sum(counts["validation"] for counts in summary.counts.values()) >= 2
    assert not prepare(recipe).is_new
    with pytest.raises(RecipeError, match=r"arrays.*needs folder"):
        load("yoga6", ["--source.kind", "arrays"])
