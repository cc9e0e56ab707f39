from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from headstand.images import decode
from headstand.prepare import explore, manifest
from headstand.prepare.manifest import Dataset, ManifestError
from headstand.prepare.prepare import prepare
from headstand.recipe import Recipe, Source
from tests.prepare.photos import class_folders


@pytest.fixture
def dataset(tmp_path, monkeypatch) -> Dataset:
    monkeypatch.chdir(tmp_path)
    source = class_folders(tmp_path / "photos", {"cobra": 10, "tree": 15, "$a_{b}$ & c": 5})
    prepare(Recipe(name="poses", source=Source(folder=source)))
    return manifest.read(Path("data/poses"))


def labels(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.gca().get_yticklabels()]


def test_class_counts_stack_the_splits(dataset):
    figure = explore.class_counts(dataset)
    assert labels(figure) == ["$a_{b}$ & c", "cobra", "tree"]
    bars = {bar.get_label(): [patch.get_width() for patch in bar] for bar in figure.gca().containers}
    assert bars == {"train": [3, 6, 9], "validation": [1, 2, 3], "test": [1, 2, 3]}
    assert [text.get_text().strip() for text in figure.gca().texts] == ["5", "10", "15"]


def test_image_sizes_show_every_photo(dataset):
    figure = explore.image_sizes(dataset)
    dots = [collection for collection in figure.gca().collections if hasattr(collection, "get_offsets")]
    sides = [x for dot in dots for x, _ in dot.get_offsets().tolist()]
    assert sides.count(pytest.approx((120 * 96) ** 0.5)) >= 30


def test_gallery_holds_eight_photos_a_class_whole_and_unsquashed(dataset):
    figure = explore.gallery(dataset)
    (image,) = figure.gca().get_images()
    canvas = image.get_array()
    assert canvas.shape == (3 * (explore.SIDE + 24), 8 * explore.SIDE, 3)
    assert [text.get_text() for text in figure.gca().texts] == ["$a_{b}$ & c", "cobra", "tree"]
    first = next(photo for photo in dataset.photos if photo.class_ == "cobra")
    small = decode(dataset.folder / first.path, (108, 86))
    top = explore.SIDE + 24 + 24 + 13
    assert (canvas[top : top + 86, 2:110] == small).all()
    assert (canvas[24 : 24 + explore.SIDE, 5 * explore.SIDE :] == 255).all()


def test_many_classes_stay_readable(dataset):
    photos = [
        manifest.Photo(dataset.photos[0].path, f"pose_{number}", split, "0" * 64, 9, 9, 0)
        for number in range(66)
        for split in manifest.SPLITS
    ]
    many = Dataset(dataset.folder, tuple(photos))
    for draw in (explore.class_counts, explore.image_sizes):
        figure = draw(many)
        assert labels(figure)[:3] == ["pose_0", "pose_1", "pose_2"]
        assert figure.get_figheight() / 66 > 0.2
    canvas = explore.gallery(many).gca().get_images()[0].get_array()
    assert canvas.shape[:2] == (33 * (explore.SIDE + 24), 2 * 8 * explore.SIDE + 16)


def test_look_saves_png_and_draws_only_what_is_older_than_the_data(dataset):
    paths = explore.look(dataset.folder)
    assert [path.name for path in paths] == ["classes.png", "sizes.png", "gallery.png"]
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG" and image.width > 300
    before = [path.stat().st_mtime_ns for path in paths]
    assert [path.stat().st_mtime_ns for path in explore.look(dataset.folder)] == before
    manifest.write(dataset)
    assert all(new.stat().st_mtime_ns > old for new, old in zip(explore.look(dataset.folder), before, strict=True))
    assert sorted(path.name for path in (dataset.folder / "look").iterdir()) == [
        "classes.png",
        "gallery.png",
        "sizes.png",
    ]


def test_look_names_the_command_where_there_is_no_data(tmp_path):
    with pytest.raises(ManifestError, match=r"run `python data_preparation.py nothing`"):
        explore.look(tmp_path / "nothing")
