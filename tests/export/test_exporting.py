import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from headstand import images
from headstand.errors import HeadstandError
from headstand.export import convert
from headstand.export.exporting import ExportError, export
from headstand.export.parity import ParityError
from headstand.learn import checkpoint
from headstand.learn.checkpoint import CheckpointError
from headstand.prepare import manifest
from headstand.prepare.manifest import Dataset, ManifestError
from headstand.serve import bundle as serve
from headstand.serve.classifier import Classifier
from tests import networks, photos


def others(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_bundle_answers_as_the_checkpoint(model: Path, dataset: Dataset) -> None:
    before = others(model.parent)
    made = export(model)
    assert made.bundle == model.with_suffix(".tflite")
    assert others(model.parent) == before | {made.bundle.name}
    assert made.size == made.bundle.stat().st_size
    assert made.parity.count == 12
    assert made.parity.agreement == 1
    assert made.parity.largest_difference <= 1e-4
    classifier, keras_model = Classifier(made.bundle), checkpoint.load(model)
    for photo in dataset.photos:
        path = dataset.folder / photo.path
        wanted = keras_model(images.decode(path, networks.SIZE)[np.newaxis].astype(np.float32)).numpy()[0]
        given = classifier.predict(path.read_bytes()).probabilities
        assert [given[label] for label in dataset.classes] == pytest.approx(wanted.tolist(), abs=1e-4)
        assert next(iter(given)) == dataset.classes[wanted.argmax()]


def test_it_says_what_it_is(bundle: Path, trained: Path) -> None:
    read = serve.read(bundle)
    (path,) = bundle.parent.glob("shapes_*.h5")
    assert read.labels == photos.CLASSES
    assert (read.name, read.size) == ("shapes", networks.SIZE)
    metadata = read.metadata
    assert metadata["checkpoint"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert metadata["data"] == checkpoint.about(path).data
    assert metadata["input"]["decoder"] == images.DECODER
    assert metadata["parity"]["format"] == "float32"
    assert metadata["parity"]["count"] == 12
    assert metadata["parity"]["agreement"] == 1
    assert 0 <= metadata["parity"]["mean_difference"] <= metadata["parity"]["largest_difference"] <= 1e-4
    assert set(metadata["versions"]) == {"headstand", "tensorflow", "keras", "ai-edge-litert"}
    assert metadata["threshold"] == checkpoint.about(path).threshold
    assert metadata["temperature"] == checkpoint.about(path).temperature != 1
    # Nothing tells where it was made.
    assert str(trained) not in json.dumps(metadata)


def test_only_built_in_operations(bundle: Path) -> None:
    model = schema.ModelT.InitFromPackedBuf(serve.read(bundle).flatbuffer, 0)
    codes = [(max(one.builtinCode, one.deprecatedBuiltinCode), one.customCode) for one in model.operatorCodes]
    assert all(code != schema.BuiltinOperator.CUSTOM and name is None for code, name in codes)


def test_converted_twice_it_is_the_same_file(model: Path) -> None:
    first = export(model).bundle.read_bytes()
    assert export(model).bundle.read_bytes() == first


def test_a_model_that_answers_differently_is_refused_and_leaves_nothing(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = others(model.parent)
    real = convert.float32

    def changed(keras_model: networks.keras.Model) -> bytes:
        other = networks.keras.models.clone_model(keras_model)
        other.set_weights([values + 0.05 for values in keras_model.get_weights()])
        return real(other)

    monkeypatch.setattr(convert, "float32", changed)
    with pytest.raises(ParityError, match=r"nothing was written: of 12 test photos .*data/shapes/test/"):
        export(model)
    assert others(model.parent) == before


def test_a_refusal_leaves_an_older_bundle_alone(model: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = model.with_suffix(".tflite")
    shutil.copy(bundle, older)
    monkeypatch.setattr("headstand.export.parity.FLOAT32_LIMIT", -1.0)
    with pytest.raises(ParityError):
        export(model)
    assert older.read_bytes() == bundle.read_bytes()


def test_without_data_the_command_is_told(model: Path) -> None:
    shutil.rmtree("data")
    with pytest.raises(
        ManifestError, match=r"no prepared data at data/shapes: run `python data_preparation.py shapes`"
    ):
        export(model)
    assert not model.with_suffix(".tflite").exists()


def test_data_that_has_changed_since_is_refused(model: Path, dataset: Dataset) -> None:
    first = dataset.photos[0]
    manifest.write(Dataset(dataset.folder, (dataclasses.replace(first, group=999), *dataset.photos[1:])))
    with pytest.raises(ExportError, match=r"data/shapes is not the data .* `python train.py shapes`"):
        export(model)
    assert not model.with_suffix(".tflite").exists()


def test_a_test_photo_that_is_gone_is_named(model: Path, dataset: Dataset) -> None:
    path = dataset.folder / dataset.split("test")[3].path
    path.unlink()
    with pytest.raises(HeadstandError, match=re.escape(str(path))):
        export(model)
    assert not model.with_suffix(".tflite").exists()


def test_a_test_photo_that_was_damaged_is_named(model: Path, dataset: Dataset) -> None:
    path = dataset.folder / dataset.split("test")[3].path
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(HeadstandError, match=re.escape(str(path))):
        export(model)
    assert not model.with_suffix(".tflite").exists()


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_what_is_no_checkpoint_is_refused(model: Path, content: bytes | None) -> None:
    path = model.with_name("other.h5")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.h5"):
        export(path)
    assert not path.with_suffix(".tflite").exists()


def test_a_bundle_is_no_checkpoint(bundle: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a checkpoint that Headstand wrote"):
        export(bundle)


def test_the_size_inside_must_be_the_models(model: Path) -> None:
    about = dataclasses.replace(checkpoint.about(model), size=48)
    checkpoint.save(checkpoint.load(model), model, about)
    with pytest.raises(HeadstandError, match="48"):
        export(model)
    assert not model.with_suffix(".tflite").exists()


def test_photos_of_every_kind_are_compared_from_their_files(model: Path, dataset: Dataset) -> None:
    """The parity check decodes what the service decodes: a turned photo too."""
    path = dataset.folder / dataset.split("test")[0].path
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as image:
        image.save(path, format="JPEG", exif=exif)
    assert export(model).parity.largest_difference <= 1e-4
