"""What a new user's mistakes and a poor machine must not do: crash, leave half a file, or send people in circles."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import headstand.learn  # noqa: F401 - imports TensorFlow quietly

import keras  # isort: skip
from headstand.learn import checkpoint
from headstand.prepare import folder, manifest
from headstand.prepare.prepare import prepare
from headstand.recipe import Recipe, Source
from tests.prepare.photos import class_folders


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes here: the one way to a full disk that needs no rights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_hdf5_never_meets_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where it does, it may crash the process: no message, and half a file stays.
    calls: list[Path] = []
    monkeypatch.setattr(keras.Model, "save", lambda model, path, **_: calls.append(path))
    pixels = keras.Input((32, 32, 3))
    model = keras.Model(pixels, keras.layers.Dense(400)(keras.layers.Flatten()(pixels)))
    path = tmp_path / "a.h5"
    with largest_file(4 * model.count_params()):
        with pytest.raises(checkpoint.CheckpointError, match=r"cannot write .*a\.h5: File too large"):
            checkpoint.save(model, path, checkpoint.About("a", ("b", "c"), 32, "x", "y"))
        with pytest.raises(checkpoint.CheckpointError, match=r"cannot write .*b\.weights\.h5: File too large"):
            with checkpoint.writing(tmp_path / "b.weights.h5", model.weights):
                calls.append(path)
    assert calls == []
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_itself_is_counted_and_left_aside(tmp_path: Path) -> None:
    for name in ("cobra", "tree"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    (tmp_path / "tree" / "b.jpg").symlink_to("b.jpg")
    (tmp_path / "tree" / "c.jpg").symlink_to("d.jpg")
    (tmp_path / "tree" / "d.jpg").symlink_to("c.jpg")
    listing = folder.listing(tmp_path)
    assert [path.name for _, path in listing.photos] == ["a.jpg", "a.jpg"]
    assert listing.ignored == 3


@pytest.mark.parametrize("changed", ["photo", "manifest"])
def test_preparing_again_mends_what_was_changed_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    # Training refuses a changed photo and names this command as the way out, so it must be one.
    monkeypatch.chdir(tmp_path)
    source = class_folders(tmp_path / "photos", {"cobra": 5, "tree": 5})
    recipe = Recipe(name="poses", source=Source(folder=source))
    assert prepare(recipe).made
    assert not prepare(recipe).made
    dataset = manifest.read(recipe.data)
    table, photo = recipe.data / "manifest.csv", recipe.data / dataset.split("test")[0].path
    before = table.read_bytes(), photo.read_bytes()
    if changed == "photo":
        photo.write_bytes(before[1][:-1] + b"x")
    else:
        table.write_bytes(before[0].replace(b",test,", b",train,", 1))
    assert prepare(recipe).made
    assert (table.read_bytes(), photo.read_bytes()) == before
    assert not prepare(recipe).made
