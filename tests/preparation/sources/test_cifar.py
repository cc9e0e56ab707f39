import io
import os
import pickle
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstand.images import decode
from headstand.preparation.prepare import prepare
from headstand.preparation.sources import archive, cifar, png_files
from headstand.preparation.sources.cifar import CifarError, listing
from headstand.preparation.sources.unpickle import UnpickleError
from headstand.recipe import Source, load

FINE = ["wolf", "apple", "tulip", "bear", "rose", "pear"]  # not in order, as a list of labels may be
COARSE = ["mammals", "plants", "fruit"]
OF = [0, 2, 1, 0, 1, 2]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def part(per_class: int, seed: int) -> dict[str, object]:
    fine = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(FINE)), per_class)).tolist()
    data = np.random.default_rng(seed + 1).integers(0, 256, (len(fine), 3072), dtype=np.uint8)
    names = [f"{number}.png" for number in range(len(fine))]
    return {"data": data, "fine_labels": fine, "coarse_labels": [OF[label] for label in fine], "filenames": names}


def write(folder: Path, **changes: object) -> Path:
    """A small CIFAR-100; `changes` replace all of `meta`, `train` or `test`."""
    folder.mkdir(parents=True)
    values = {
        "meta": {"fine_label_names": FINE, "coarse_label_names": COARSE},
        "train": part(10, 1),
        "test": part(2, 5),
    }
    for name, value in {**values, **changes}.items():
        (folder / name).write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, 2))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "cifar-100-python")


def source(folder: Path, **options: object) -> Source:
    return Source.model_validate({"kind": "cifar", "folder": str(folder), **options})


def test_every_image_is_written_losslessly_with_its_label_and_split(folder):
    found = listing(source(folder), 1)
    assert found.classes == ("fruit", "mammals", "plants")
    assert len(found.items) == 72
    assert [item.class_ for item in found.items] == sorted(item.class_ for item in found.items)
    for split in ("train", "test"):
        values = pickle.loads((folder / split).read_bytes())
        items = [item for item in found.items if item.split == split]
        assert len(items) == len(values["data"])
        for item in items:
            assert item.path.is_relative_to(found.root)
            index = int(item.path.stem)
            stored = values["data"][index].reshape(3, 32, 32)  # red, green and blue, row by row
            np.testing.assert_array_equal(decode(item.path), np.moveaxis(stored, 0, 2))
            assert item.class_ == COARSE[values["coarse_labels"][index]]


def test_fine_labels_are_the_classes_in_natural_order(folder):
    found = listing(source(folder, labels="fine"), 1)
    assert found.classes == ("apple", "bear", "pear", "rose", "tulip", "wolf")
    assert Counter((item.class_, item.split) for item in found.items) == {
        (name, split): count for name in FINE for split, count in (("train", 10), ("test", 2))
    }
    assert {item.path for item in found.items} == {item.path for item in listing(source(folder), 1).items}


def test_a_class_without_images_is_left_out(tmp_path):
    meta = {"fine_label_names": [*FINE, "unicorn"], "coarse_label_names": [*COARSE, "fables"]}
    found = listing(source(write(tmp_path / "x", meta=meta), labels="fine"), 1)
    assert "unicorn" not in found.classes


@pytest.mark.parametrize("form", ["folder", "around", "tar"])
def test_the_folder_its_parent_or_its_archive_give_the_same(form, folder, tmp_path):
    path = {"folder": folder, "around": tmp_path / "outer", "tar": tmp_path / "c.tar.gz"}[form]
    expected = listing(source(folder), 1)
    if form == "around":
        write(path / "cifar-100-python")
    if form == "tar":
        with tarfile.open(path, "w:gz") as file:
            file.add(folder, "cifar-100-python")
    assert listing(source(path), 1) == expected


def test_without_a_folder_the_official_archive_is_fetched(folder, monkeypatch):
    calls = []
    monkeypatch.setattr(archive, "unpacked", lambda location, digest=None: calls.append((location, digest)) or folder)
    assert len(listing(Source(kind="cifar"), 1).items) == 72
    assert calls == [
        ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "md5:eb9058c3a382ffc7106e4002c42a8d85")
    ]


def test_a_second_call_writes_nothing_and_an_interrupted_one_is_resumed(folder, monkeypatch):
    real, count = Image.Image.save, 0

    def stop(image, *arguments, **options):
        nonlocal count
        count += 1
        if count > 20:
            raise KeyboardInterrupt
        real(image, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        listing(source(folder), 1)
    count = -52  # 72 are 20 and 52
    found = listing(source(folder), 1)
    assert count == 0
    assert sorted(found.root.rglob("*.*")) == sorted(item.path for item in found.items)
    times = [item.path.stat().st_mtime_ns for item in found.items]
    count = 20
    assert listing(source(folder), 1) == found
    assert times == [item.path.stat().st_mtime_ns for item in found.items]


def test_per_class_draws_by_seed_and_keeps_the_proportions(folder):
    found = listing(source(folder, per_class=12), 1)
    assert Counter((item.class_, item.split) for item in found.items) == {
        (name, split): count for name in COARSE for split, count in (("train", 10), ("test", 2))
    }
    fine = {split: pickle.loads((folder / split).read_bytes())["fine_labels"] for split in ("train", "test")}
    drawn = Counter((FINE[fine[item.split][int(item.path.stem)]], item.split) for item in found.items)
    assert drawn == {(name, split): count for name in FINE for split, count in (("train", 5), ("test", 1))}
    assert listing(source(folder, per_class=12), 1) == found
    assert {item.path for item in listing(source(folder, per_class=12), 2).items} != {i.path for i in found.items}
    assert len(listing(source(folder, per_class=1000), 1).items) == 72
    assert len(list(found.root.rglob("*.png"))) == 72


@pytest.mark.parametrize("count", [1, 2])
def test_a_sample_too_small_for_the_splits_is_refused_before_anything_is_written(folder, cache, count):
    with pytest.raises(CifarError, match=f"per_class is {count}: a class needs 3 pictures or more, one for each split"):
        listing(source(folder, per_class=count), 1)
    assert not cache.exists()
    splits = {(item.class_, item.split) for item in listing(source(folder, per_class=3), 1).items}
    assert splits == {(name, split) for name in COARSE for split in ("train", "test")}


def test_only_the_drawn_pictures_are_written(folder):
    found = listing(source(folder, per_class=3, labels="fine"), 1)
    assert sorted(found.root.rglob("*.png")) == sorted(item.path for item in found.items)
    assert Counter(item.split for item in found.items) == {"train": 12, "test": 6}


def test_other_pictures_get_another_folder(folder, tmp_path):
    other = write(tmp_path / "other", train=part(10, 9))
    assert listing(source(other), 1).root != listing(source(folder), 1).root


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("meta", {"fine_label_names": FINE}, "has no coarse_label_names"),
        ("meta", {"fine_label_names": [*FINE[:-1], FINE[0]], "coarse_label_names": COARSE}, "empty or double"),
        ("meta", {"fine_label_names": [1, 2], "coarse_label_names": COARSE}, "has no fine_label_names"),
        ("train", {**part(3, 1), "data": np.zeros((18, 3071), np.uint8)}, "no array data of uint8"),
        ("train", {**part(3, 1), "data": np.zeros((18, 3072), np.int64)}, "no array data of uint8"),
        ("train", {**part(3, 1), "data": [1]}, "no array data of uint8"),
        ("train", {**part(3, 1), "fine_labels": [0]}, "18 pictures and 1 fine_labels"),
        ("train", {**part(3, 1), "coarse_labels": [3] * 18}, "coarse label 3, and meta names the classes 0 to 2"),
        ("train", {**part(3, 1), "fine_labels": [-1] * 18}, "fine label -1"),
        ("test", {**part(3, 1), "fine_labels": ["a"] * 18}, "no list fine_labels of numbers"),
        ("test", {"labels": [1], "data": np.zeros((1, 3072), np.uint8)}, "no list fine_labels"),
    ],
)
def test_files_that_are_not_cifar_100_are_reported(name, change, sentence, tmp_path, cache):
    with pytest.raises(CifarError, match=sentence):
        listing(source(write(tmp_path / "x", **{name: change})), 1)
    assert not cache.exists() or not list(cache.rglob("*.png"))


def test_one_class_is_too_few(tmp_path):
    train = {**part(3, 1), "coarse_labels": [0] * 18}
    with pytest.raises(CifarError, match="pictures of 1 coarse class only"):
        listing(source(write(tmp_path / "x", train=train, test=train)), 1)


def test_a_malicious_pickle_is_not_run(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "created"),)

    for name in ("meta", "train", "test"):
        with pytest.raises(UnpickleError, match=f"{name} asks for 'posix.mkdir'.*should not trust it"):
            listing(source(write(tmp_path / f"in {name}", **{name: pickle.dumps({"data": Malicious()}, 2)})), 1)
    assert not (tmp_path / "created").exists()


def test_a_class_name_with_a_path_is_not_used_as_a_path(tmp_path, cache):
    meta = {"fine_label_names": ["../../../evil", "/etc/x", *FINE[2:]], "coarse_label_names": COARSE}
    found = listing(source(write(tmp_path / "x", meta=meta), labels="fine"), 1)
    assert "../../../evil" in found.classes
    assert all(path.is_relative_to(found.root) for path in cache.rglob("*.png"))
    assert not list(tmp_path.glob("**/evil"))


def test_a_folder_without_the_files_is_reported(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(CifarError, match="does not hold the files meta, train and test"):
        listing(source(tmp_path / "x"), 1)


def test_a_disk_error_is_reported(folder, cache, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(png_files, "write", full)
    with pytest.raises(CifarError, match="No space left on device; HEADSTAND_CACHE can name another folder"):
        listing(source(folder), 1)


def test_from_pickles_to_a_prepared_dataset(folder, workplace, monkeypatch, cache):
    monkeypatch.setenv("HEADSTAND_CACHE", str(cache))
    recipe = load("cifar100", ["--source.folder", str(folder)])
    summary = prepare(recipe)
    assert summary.counts == {
        name: {"train": 18, "validation": 2, "test": 4} for name in ("fruit", "mammals", "plants")
    }
    assert summary.given == ["test"]
    first = decode(next(iter(sorted(Path("data/cifar100/test/fruit").iterdir()))))
    assert any(
        (np.moveaxis(row.reshape(3, 32, 32), 0, 2) == first).all()
        for row in pickle.loads((folder / "test").read_bytes())["data"]
    )
    assert not prepare(recipe).is_new


def test_pictures_are_png_at_every_size(tmp_path):
    values = {
        side: np.random.default_rng(side).integers(0, 256, (2, side, side, 3), dtype=np.uint8) for side in (8, 75)
    }
    for side, pixels in values.items():
        png_files.write(
            tmp_path / "p", [f"{side}/0.png", f"{side}/1.png"], lambda indices, pixels=pixels: pixels[indices]
        )
        for number in (0, 1):
            data = (tmp_path / "p" / str(side) / f"{number}.png").read_bytes()
            assert Image.open(io.BytesIO(data)).format == "PNG"
            np.testing.assert_array_equal(decode(data), pixels[number])
    assert {path.name for path in tmp_path.iterdir()} == {"p"}


def test_the_shares_of_a_sample():
    assert cifar._shares(np.array([500, 500, 500]), 10) in ([4, 3, 3], [3, 4, 3], [3, 3, 4])
    assert cifar._shares(np.array([10, 30]), 8) == [2, 6]
    assert cifar._shares(np.array([5]), 0) == [0]
