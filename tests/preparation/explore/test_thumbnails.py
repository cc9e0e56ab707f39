from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstand.images import decode
from headstand.preparation.examination import examined
from headstand.preparation.explore import thumbnails
from headstand.preparation.explore.thumbnails import SIDE, SMALL, ThumbnailError, Thumbnails, stretched
from headstand.preparation.manifest import Dataset, Photo


def stored(folder: Path, files: dict[str, np.ndarray], **options: object) -> Dataset:
    """Photos `train/CLASS/FILE` of these pixels, or arrays where the name ends in .npy."""
    rows = []
    for path, picture in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".npy"):
            np.save(folder / path, picture)
        else:
            Image.fromarray(picture).save(folder / path, **options)
        height, width = picture.shape[-2:] if path.endswith(".npy") else picture.shape[:2]
        rows.append(Photo(path, path.split("/")[1], "train", "0" * 64, width, height, len(rows)))
    return Dataset(folder, tuple(rows))


def grey(value: int, width: int = 20, height: int = 20) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def test_photos_are_not_cropped_and_have_the_same_longest_side(tmp_path):
    scene = np.random.default_rng(0).integers(0, 256, (60, 240, 3), dtype=np.uint8)
    dataset = stored(tmp_path, {"train/a/1.png": scene, "train/a/2.png": grey(9, 10, 40)})
    result = Thumbnails.of(dataset)
    assert result.side == SIDE
    assert {path: picture.shape for path, picture in result.pictures.items()} == {
        "train/a/1.png": (SIDE // 4, SIDE, 3),
        "train/a/2.png": (SIDE, SIDE // 4, 3),
    }
    exact = decode(tmp_path / "train/a/1.png", (SIDE, SIDE // 4)).astype(int)
    assert np.abs(result.pictures["train/a/1.png"] - exact).mean() < 6


@pytest.mark.parametrize(("orientation", "shape"), [(1, (56, 112)), (3, (56, 112)), (6, (112, 56)), (8, (112, 56))])
def test_a_photo_that_exif_turns_keeps_its_shape(tmp_path, orientation, shape):
    exif = Image.Exif()
    exif[0x0112] = orientation
    dataset = stored(tmp_path, {"train/a/1.jpg": grey(90, 200, 100)}, exif=exif)
    assert Thumbnails.of(dataset).pictures["train/a/1.jpg"].shape[:2] == shape


def test_means_are_exact_and_a_photo_s_shape_does_not_matter(tmp_path):
    dataset = stored(
        tmp_path,
        {
            "train/a/1.png": grey(10, 50, 20),
            "train/a/2.png": grey(21),
            "train/a/3.png": grey(30),
            "train/b/1.png": grey(7),
        },
    )
    means = Thumbnails.of(dataset).means
    assert {name: (mean.shape, np.unique(mean).tolist()) for name, mean in means.items()} == {
        "a": ((SIDE, SIDE, 3), [20]),
        "b": ((SIDE, SIDE, 3), [7]),
    }


def test_large_classes_are_sampled_evenly_and_each_file_is_decoded_once(tmp_path, monkeypatch):
    count = 3 * thumbnails.AVERAGED
    dataset = stored(tmp_path, {f"train/a/{n}.png": grey(n // 2, 4, 4) for n in range(count)})
    opened = []
    monkeypatch.setattr(thumbnails, "examined", lambda *a: opened.append(1) or examined(*a))
    result = Thumbnails.of(dataset, [dataset.photos[1], dataset.photos[1], dataset.photos[0]])
    assert len(opened) in range(thumbnails.AVERAGED, thumbnails.AVERAGED + 9)
    assert [photo.path for photo in result.shown["a"]][:: thumbnails.SHOWN - 1] == [
        "train/a/0.png",
        f"train/a/{count - 1}.png",
    ]
    assert set(result.pictures) == {photo.path for photo in result.shown["a"]} | {"train/a/1.png"}
    assert abs(int(result.means["a"][0, 0, 0]) - (count - 1) / 4) <= 1


def test_many_classes_have_smaller_photos(tmp_path):
    dataset = stored(tmp_path, {f"train/{n}/1.png": grey(n) for n in range(thumbnails.FEW + 1)})
    result = Thumbnails.of(dataset)
    assert result.side == SMALL
    assert result.pictures["train/0/1.png"].shape == (SMALL, SMALL, 3)
    assert result.means["0"].shape == (SIDE, SIDE, 3)


def test_heatmaps_are_shown_as_the_sum_over_their_joints(tmp_path):
    heat = np.zeros((1, 17, 64, 48), dtype=np.float32)
    heat[0, 3, :32, :24] = 0.25
    heat[0, 5, :32, :24] = 0.25
    heat[0, 9, 32:, 24:] = 0.25
    heat[0, 9, 63, 47] = np.nan
    result = Thumbnails.of(stored(tmp_path, {"train/chair/1.npy": heat}))
    picture = result.pictures["train/chair/1.npy"]
    assert picture.shape == (SIDE, round(SIDE * 48 / 64), 3)
    assert picture[10, 10].tolist() == [255] * 3
    assert picture[10, -10].tolist() == [0] * 3
    assert picture[-30, -30].tolist() == [128] * 3
    assert np.array_equal(result.means["chair"][10, 10], [255] * 3)


@pytest.mark.parametrize("shape", [(64, 48), (0, 64, 48), (7,), ()])
def test_arrays_that_are_plain_are_black_and_those_without_a_picture_are_refused(tmp_path, shape):
    (tmp_path / "train/a").mkdir(parents=True)
    np.save(tmp_path / "train/a/1.npy", np.ones(shape))
    dataset = Dataset(tmp_path, (Photo("train/a/1.npy", "a", "train", "0" * 64, 48, 64, 0),))
    if shape == (64, 48):
        assert not Thumbnails.of(dataset).means["a"].any()
    else:
        with pytest.raises(ThumbnailError, match="its shape is"):
            Thumbnails.of(dataset)


@pytest.mark.parametrize("name", ["1.png", "1.npy"])
def test_a_missing_or_damaged_file_is_named_with_the_remedy(tmp_path, name):
    folder = tmp_path / "poses"
    picture = grey(5) if name == "1.png" else np.ones((2, 2))
    dataset = stored(folder, {f"train/a/{name}": picture})
    file = folder / "train/a" / name
    for data in (b"words", b"", file.read_bytes()[:50], None):
        file.unlink() if data is None else file.write_bytes(data)
        with pytest.raises(ThumbnailError) as excinfo:
            Thumbnails.of(dataset)
        assert f"{name} cannot be shown (" in str(excinfo.value)
        assert str(excinfo.value).endswith(f"remove {folder} and run `python -m headstand explore PHOTOS --name poses`")


def test_pickled_objects_are_not_loaded(tmp_path):
    (tmp_path / "train/a").mkdir(parents=True)
    np.save(tmp_path / "train/a/1.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    dataset = Dataset(tmp_path, (Photo("train/a/1.npy", "a", "train", "0" * 64, 1, 1, 0),))
    with pytest.raises(ThumbnailError, match=r"1\.npy cannot be shown"):
        Thumbnails.of(dataset)


def test_contrast_is_stretched_to_the_full_range_except_of_a_plain_picture():
    pale = np.linspace(100, 150, 101).astype(np.uint8).repeat(3).reshape(1, 101, 3)
    result = stretched(pale)
    assert (result.min(), result.max()) == (0, 255)
    assert (np.diff(result[0, :, 0].astype(int)) >= 0).all()
    assert np.array_equal(stretched(grey(77)), grey(77))
