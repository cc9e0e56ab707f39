import csv
from pathlib import Path

import numpy as np
import pytest

from headstand import __main__
from headstand.errors import HeadstandError
from headstand.images import decode
from headstand.preparation import manifest
from headstand.preparation.manifest import Dataset, ManifestError, Photo
from headstand.preparation.sample import SampleError, sample
from headstand.recipe import load
from tests.preparation.photos import encoded, picture

TEST = 12


@pytest.fixture
def recipe(workplace: Path):
    """A prepared dataset, `data/yoga6`, with 12 test photos of two classes."""
    rows = []
    for number in range(20):
        split, name = ("test" if number < TEST else "train"), ("tree", "chair")[number % 2]
        path = Path("data/yoga6", split, name, f"{name}{number}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(number, (40 + number, 30))))
        rows.append(Photo(f"{split}/{name}/{name}{number}.jpg", name, split, "0" * 64, 40 + number, 30, number))
    manifest.write(Dataset(Path("data/yoga6"), tuple(rows)))
    return load("yoga6")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sample_holds_test_photos_with_their_labels(recipe):
    written = sample(recipe, 5, Path("out"))
    table = rows(Path("out"))
    assert [str(path) for path in written] == [*(f"out/{row['file']}" for row in table), "out/labels.csv"]
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(path.name for path in written)
    assert len({row["photo"] for row in table}) == 5
    for number, row in enumerate(table, 1):
        assert row["file"] == f"{row['label']}_{number:03d}.png"
        assert row["photo"].startswith(f"test/{row['label']}/")
        np.testing.assert_array_equal(decode(Path("out", row["file"])), decode(recipe.data / row["photo"]))
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


def test_the_seed_decides_the_draw(recipe):
    drawn = {}
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        sample(load("yoga6", ["--seed", str(seed)]), 6, Path(folder))
        drawn[folder] = rows(Path(folder))
    assert drawn["a"] == drawn["b"] != drawn["c"]


def test_all_test_photos_and_no_other(recipe):
    sample(recipe, TEST, Path("out"))
    assert {row["photo"] for row in rows(Path("out"))} == {p.path for p in manifest.read(recipe.data).split("test")}


@pytest.mark.parametrize("count", [0, TEST + 1])
def test_more_than_there_are_is_refused(count, recipe):
    with pytest.raises(SampleError, match=f"has 12 test photos: a sample has 1 to 12, not {count}"):
        sample(recipe, count, Path("out"))
    assert not Path("out").exists()


def test_a_folder_with_files_is_not_changed_and_an_empty_one_is_filled(recipe):
    Path("out").mkdir()
    Path("out/mine").write_text("x")
    with pytest.raises(SampleError, match="out exists already and is not empty"):
        sample(recipe, 2, Path("out"))
    assert [path.name for path in Path("out").iterdir()] == ["mine"]
    with pytest.raises(SampleError, match="mine exists already"):
        sample(recipe, 2, Path("out/mine"))
    Path("empty").mkdir()
    assert len(sample(recipe, 2, Path("empty"))) == len(list(Path("empty").iterdir())) == 3


def test_a_damaged_photo_leaves_nothing_behind(recipe):
    for path in recipe.data.glob("test/*/*"):
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SampleError, match=r"data/yoga6/test/.*jpg: the image's header is damaged"):
        sample(recipe, 3, Path("out"))
    assert [path.name for path in Path().iterdir()] == ["data"]


def test_arrays_are_not_photos(recipe):
    photo = Photo("test/tree/a.npy", "tree", "test", "0" * 64, 4, 4, 99)
    manifest.write(Dataset(recipe.data, (*manifest.read(recipe.data).photos, photo)))
    with pytest.raises(SampleError, match=r"a\.npy is an array, not a photo"):
        sample(recipe, 3, Path("out"))


def test_the_command(recipe, capsys):
    __main__.main(["sample", "yoga6", "3", "out", "--seed", "4"])
    assert capsys.readouterr().out.splitlines() == [
        *(f"out/{row['file']}" for row in rows(Path("out"))),
        "out/labels.csv",
    ]
    assert rows(Path("out")) != []


@pytest.mark.parametrize("argv", [[], ["yoga6"], ["yoga6", "3"], ["yoga6", "out", "3"], ["yoga6", "3", "--seed"]])
def test_the_command_reports_missing_arguments(argv, recipe):
    with pytest.raises(HeadstandError, match="--help` lists the arguments"):
        __main__.main(["sample", *argv])


def test_without_a_prepared_dataset_the_command_that_makes_it_is_named(workplace):
    with pytest.raises(ManifestError, match=r"data_preparation\.py yoga6"):
        sample(load("yoga6"), 3, Path("out"))
