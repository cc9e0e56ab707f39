import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstand.errors import HeadstandError
from headstand.evaluation.evaluated_model import ModelError, find, load
from headstand.features import compiled
from headstand.heads import checkpoint as checkpoints
from headstand.serve.classifier import Classifier
from tests import networks, tiny


def test_a_file_is_itself_and_a_folder_is_an_error(workplace: Path) -> None:
    assert find("some/model.h5", refitted=False) == Path("some/model.h5")
    assert find("MODEL.TFLITE", refitted=True) == Path("MODEL.TFLITE")
    Path("models").mkdir()
    with pytest.raises(ModelError, match=r"models is a folder: name a .h5 or .tflite file, or a recipe"):
        find("models", refitted=False)
    for name in ("a.h5", "a.tflite", "README.md"):
        (Path("models") / name).touch()
    with pytest.raises(ModelError, match=r"models is a folder: name models/a.h5 or models/a.tflite$"):
        find("models", refitted=False)


def test_a_recipe_selects_its_newest_run(workplace: Path) -> None:
    Path("mine.toml").write_text('name = "shapes"\n[source]\nfolder = "photos"\n')
    with pytest.raises(HeadstandError, match="no finished run"):
        find("mine.toml", refitted=False)
    for time in ("2026-01-01T000000", "2026-01-02T000000"):
        folder = Path("runs/shapes") / time
        folder.mkdir(parents=True)
        for name in ("best.h5", "all.h5"):
            (folder / name).touch()
        (folder / "report.json").write_text(json.dumps({"checkpoint": "best.h5", "refitted": "all.h5"}))
    assert find("mine.toml", refitted=False) == Path("runs/shapes/2026-01-02T000000/best.h5")
    assert find("mine.toml", refitted=True) == Path("runs/shapes/2026-01-02T000000/all.h5")
    for folder in ("runs", "runs/shapes", "runs/shapes/2026-01-02T000000"):
        assert find(folder, refitted=False) == Path("runs/shapes/2026-01-02T000000/best.h5")
    assert find("runs", refitted=True) == Path("runs/shapes/2026-01-02T000000/all.h5")
    with pytest.raises(HeadstandError, match="there is no recipe 'mine'"):
        find("mine", refitted=False)


def test_a_checkpoint_predicts_as_its_network(checkpoint: Path) -> None:
    model = load(checkpoint)
    pixels = np.random.default_rng(0).integers(0, 256, (3, networks.SIZE, networks.SIZE, 3)).astype(np.uint8)
    expected = compiled(checkpoints.load(checkpoint))(pixels).numpy()
    np.testing.assert_allclose(model.predict(pixels), expected, rtol=1e-6)
    assert model.about == checkpoints.metadata(checkpoint)
    assert model.history
    assert model.sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()


@pytest.mark.parametrize(("key", "value"), [("labels", ("circle", "cross")), ("size", 48)])
def test_a_checkpoint_that_contradicts_its_metadata_is_refused(checkpoint: Path, key: str, value: object) -> None:
    about = replace(checkpoints.metadata(checkpoint), **{key: value})
    other = checkpoints.save(checkpoints.load(checkpoint), Path("wrong.h5"), about)
    with pytest.raises(ModelError, match=r"wrong.h5 does not match its metadata: .* train it again"):
        load(other)


def test_a_bundle_predicts_as_it_is_served(workplace: Path) -> None:
    path = tiny.bundle(workplace / "tiny.tflite", data="d" * 64, temperature=0.7)
    model = load(path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, tiny.SIZE, tiny.SIZE, 3)).astype(np.uint8)
    np.testing.assert_array_equal(model.predict(pixels), Classifier(path).probabilities(pixels))
    about = model.about
    assert (about.name, about.labels, about.size) == ("tiny", tiny.LABELS, tiny.SIZE)
    assert (about.data, about.temperature, about.threshold) == ("d" * 64, 0.7, 0.5)
    assert not model.history


def test_a_bundle_takes_the_fingerprints_of_the_checkpoint_in_its_folder(checkpoint: Path) -> None:
    other = checkpoint.with_name("another.h5")
    other.write_bytes(checkpoint.read_bytes() + b"\0")
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    model = load(tiny.bundle(Path("tiny.tflite"), checkpoint=digest))
    known = checkpoints.metadata(checkpoint)
    assert model.history
    assert (model.about.training_fingerprints, model.about.evaluation_fingerprints) == (
        known.training_fingerprints,
        known.evaluation_fingerprints,
    )
    assert (model.about.name, model.about.threshold) == ("tiny", 0.5)
    assert not load(tiny.bundle(Path("tiny.tflite"), checkpoint="0" * 64)).history


@pytest.mark.parametrize("name", ["nowhere.h5", "nowhere.tflite"])
def test_a_missing_model_is_an_error(workplace: Path, name: str) -> None:
    with pytest.raises(HeadstandError, match=name):
        load(Path(name))


@pytest.mark.parametrize("name", ["damaged.h5", "damaged.tflite"])
def test_a_damaged_model_is_an_error(workplace: Path, name: str) -> None:
    Path(name).write_bytes(b"no model at all")
    with pytest.raises(HeadstandError, match=name):
        load(Path(name))
