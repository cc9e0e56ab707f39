import hashlib
import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from headstand.preparation import manifest
from headstand.preparation.explore import explore
from headstand.preparation.explore.thumbnails import SIDE, SMALL, Thumbnails
from headstand.preparation.manifest import Dataset, ManifestError, Photo
from headstand.preparation.prepare import prepare
from headstand.recipe import Recipe, Source
from tests.preparation.photos import class_folders

NAMES = ["$a_{b}$ & c", "cobra", "tree"]
PLOTS = ["classes.png", "balance.png", "sizes.png", "means.png", "gallery.png"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    source = class_folders(folder / "photos", {"cobra": 10, "tree": 15, "$a_{b}$ & c": 5})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HEADSTAND_CACHE", str(folder / "cache"))
        prepare(Recipe(name="poses", source=Source(folder=str(source))))
    return folder / "data" / "poses"


@pytest.fixture
def dataset(prepared, tmp_path) -> Dataset:
    return manifest.read(Path(shutil.copytree(prepared, tmp_path / "poses")))


def plain(folder: Path, colours: dict[str, list[int]], side: int = 24) -> Dataset:
    """Square photos of one grey each, by class, in the splits by turns."""
    photos = []
    for name, greys in colours.items():
        for number, grey in enumerate(greys):
            split = manifest.SPLITS[number % 3]
            path = folder / split / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (side, side), (grey,) * 3).save(path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            photos.append(Photo(path.relative_to(folder).as_posix(), name, split, digest, side, side, len(photos)))
    dataset = Dataset(folder, tuple(photos))
    manifest.write(dataset)
    return dataset


def many(dataset: Dataset, classes: int, names: str = "pose_{}") -> Dataset:
    """One file as three photos of each class."""
    path = dataset.photos[0].path
    rows = [
        Photo(path, names.format(number), split, "0" * 64, 9, 9, 0)
        for number in range(classes)
        for split in manifest.SPLITS
    ]
    return Dataset(dataset.folder, tuple(rows))


def labels(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def bars(figure: Figure) -> dict[str, list[float]]:
    return {bar.get_label(): [patch.get_width() for patch in bar] for bar in figure.gca().containers}


def pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_class_counts_stack_the_splits(dataset):
    figure = explore.class_counts(dataset)
    assert labels(figure) == NAMES
    assert bars(figure) == {"train": [3, 6, 9], "validation": [1, 2, 3], "test": [1, 2, 3]}
    assert [text.get_text().strip() for text in figure.gca().texts] == ["5", "10", "15"]
    assert figure.get_suptitle() == "Photos per class: 30 in 3 classes"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(manifest.SPLITS)


def test_split_balance_shows_shares_and_names_empty_splits(tmp_path):
    dataset = plain(tmp_path, {"four": [1, 2, 3, 4], "one": [5]})
    figure = explore.split_balance(dataset)
    assert bars(figure) == {"train": [0.5, 1], "validation": [0.25, 0], "test": [0.25, 0]}
    assert [line.get_xdata()[0] for line in figure.gca().lines] == pytest.approx([0.6, 0.8])
    assert [text.get_text() for text in figure.gca().texts] == ["no validation or test"]
    assert figure.get_suptitle() == "Split balance: 60% train, 20% validation, 20% test"


def test_image_sizes_show_sides_and_shapes_with_their_medians(tmp_path):
    sizes = {"wide": [(400, 100), (200, 50), (800, 200)], "tall": [(100, 400)]}
    rows = [
        Photo(f"train/{name}/{n}.jpg", name, "train", "0" * 64, *size, n)
        for name, each in sizes.items()
        for n, size in enumerate(each)
    ]
    sides, aspects = explore.image_sizes(Dataset(tmp_path, tuple(rows))).axes
    for axes, values in ((sides, [[200], [200, 100, 400]]), (aspects, [[0.25], [4, 4, 4]])):
        dots = axes.collections[0::2]
        assert [[x for x, _ in dot.get_offsets().tolist()] for dot in dots] == values
        rows_of_dots = [{round(y) for _, y in dot.get_offsets().tolist()} for dot in dots]
        assert rows_of_dots == [{0}, {1}]
        medians = [line.get_segments()[0][0, 0] for line in axes.collections[1::2]]
        assert medians == [np.median(each) for each in values]
    assert [label.get_text() for label in aspects.get_xticklabels()] == ["1:4", "1:2", "1:1", "2:1", "4:1"]


def test_image_sizes_have_a_scale_if_all_photos_are_almost_equal(tmp_path):
    rows = [Photo(f"train/a/{n}", "a", "train", "0" * 64, n, n, n) for n in range(290, 300)]
    sides, aspects = explore.image_sizes(Dataset(tmp_path, tuple(rows))).axes
    assert [label.get_text() for label in sides.get_xticklabels()] == ["256", "512"]
    assert [label.get_text() for label in aspects.get_xticklabels()] == ["1:2", "1:1", "2:1"]


def test_the_scatter_of_a_large_class_is_thinned_but_its_median_is_of_all(tmp_path):
    rows = [Photo(f"train/a/{n}", "a", "train", "0" * 64, n + 1, n + 1, n) for n in range(1001)]
    sides = explore.image_sizes(Dataset(tmp_path, tuple(rows))).axes[0]
    dots, median = sides.collections
    assert len(dots.get_offsets()) == explore.DOTS
    assert median.get_segments()[0][0, 0] == 501


def test_the_gallery_has_eight_uncropped_photos_per_class_in_proportion(dataset):
    thumbnails = Thumbnails.of(dataset)
    figure = explore.gallery(dataset, thumbnails)
    assert [text.get_text() for text in figure.gca().texts] == ["$a_{b}$ & c  (5)", "cobra  (10)", "tree  (15)"]
    drawn = pixels(figure)
    height = 22 + SIDE + 6
    assert drawn.shape == (3 * height, 8 * (SIDE + 4), 3)
    for row, name in enumerate(NAMES):
        for column, photo in enumerate(thumbnails.shown[name]):
            small = thumbnails.pictures[photo.path]
            assert small.shape == (round(SIDE * 96 / 120), SIDE, 3)
            top, left = row * height + 22 + (SIDE - len(small)) // 2, column * (SIDE + 4) + 2
            assert np.array_equal(drawn[top : top + len(small), left : left + SIDE], small)
    assert (drawn[22:height, 5 * (SIDE + 4) :] == 255).all()


def test_mean_images_are_the_classes_means_with_more_contrast(tmp_path):
    dataset = plain(tmp_path, {"a_name_that_is_too_long_for_one_line": [100, 140, 180], "b": [30]})
    figure = explore.mean_images(dataset)
    assert [text.get_text() for text in figure.gca().texts] == ["a_name_that_is_too_\nlong_for_one_line", "b"]
    drawn = pixels(figure)
    assert drawn[SIDE // 2, (SIDE + 20) // 2].tolist() == [140] * 3
    assert drawn[SIDE // 2, SIDE + 20 + 16 + (SIDE + 20) // 2].tolist() == [30] * 3


@pytest.mark.parametrize("classes", [26, pytest.param(120, marks=pytest.mark.slow)])
def test_many_classes_stay_readable(dataset, classes):
    long = "a_long_name_of_a_pose_with_its_variation_{}_on_the_left_side"
    large = many(dataset, classes, long)
    for draw in (explore.class_counts, explore.split_balance, explore.image_sizes):
        figure = draw(large)
        assert labels(figure)[:2] == ["a_long_name_of_a_pose_w…he_left_side"] * 2
        assert figure.get_figheight() / classes > 0.2
    thumbnails = Thumbnails.of(large)
    assert thumbnails.side == SMALL
    figure = explore.gallery(large, thumbnails)
    assert (figure.get_size_inches() * 100).tolist() == pytest.approx(
        [2 * 8 * (SMALL + 4) + 16, classes / 2 * (SMALL + 28)]
    )
    assert figure.gca().texts[1].get_text() == f"{long.format(1)}  (3)"
    figure = explore.mean_images(large, thumbnails)
    assert (figure.get_size_inches() * 100)[0] == pytest.approx(8 * (SIDE + 36) - 16)


def test_no_plot_is_larger_than_matplotlib_can_draw(dataset, monkeypatch):
    assert explore.HIGHEST * 100 < 2**16
    monkeypatch.setattr(explore, "HIGHEST", 3.0)
    assert explore.class_counts(many(dataset, 30)).get_figheight() == 3


def test_explore_writes_a_page_and_plots_again_only_for_another_manifest(dataset):
    paths = explore.explore(dataset.folder)
    assert [path.name for path in paths] == ["index.html", *PLOTS]
    for path in paths[1:]:
        with Image.open(path) as image:
            assert image.format == "PNG" and image.mode == "P" and image.width > 300
            assert image.convert("RGB").getpixel((image.width - 1, image.height - 1)) == (255, 255, 255)
    before = [path.stat().st_mtime_ns for path in paths]
    assert explore.explore(dataset.folder) == paths
    assert [path.stat().st_mtime_ns for path in paths] == before
    page = paths[0].read_text(encoding="utf-8")
    # The times of files decide nothing: they are equal if both are written within one tick of the clock.
    for path in paths:
        path.write_bytes(b"stale")
        os.utime(path, ns=(2**62, 2**62))
    other = replace(dataset, photos=tuple(replace(photo, group=photo.group + 1) for photo in dataset.photos))
    manifest.write(other)
    explore.explore(dataset.folder)
    assert all(path.read_bytes() != b"stale" for path in paths)
    assert dataset.digest in page and other.digest in paths[0].read_text(encoding="utf-8")
    assert sorted(path.name for path in (dataset.folder / "explore").iterdir()) == sorted(["index.html", *PLOTS])


def test_explore_writes_class_names_that_the_font_of_the_plots_lacks(tmp_path):
    plain(tmp_path, {"蛇": [10, 200], "木": [60]})
    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always")
        page = explore.explore(tmp_path)[0].read_text(encoding="utf-8")
    assert not messages
    assert "蛇" in page and "木" in page


def test_explore_names_the_command_if_there_is_no_data(tmp_path):
    with pytest.raises(ManifestError, match=r"run `python -m headstand explore PHOTOS --name nothing`"):
        explore.explore(tmp_path / "nothing")


def test_a_class_without_photos_in_a_split_is_no_error(tmp_path):
    dataset = plain(tmp_path, {"a": [10], "b": [20]})
    manifest.write(replace(dataset, photos=tuple(replace(photo, split="train") for photo in dataset.photos)))
    assert all(path.stat().st_size > 0 for path in explore.explore(tmp_path))
