"""A model of heatmaps becomes a bundle as one of photos does."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from headstand.evaluation import evaluated_model as models
from headstand.export.exporting import Export, export
from headstand.export.tflite_conversion import ConversionError
from headstand.heads import checkpoint
from headstand.poses import heatmap_file
from headstand.preparation import manifest
from headstand.preparation.prepare import prepare
from headstand.report import record
from headstand.serve import bundle as bundles
from headstand.serve.classifier import Classifier
from headstand.training import train
from tests.poses import heatmaps
from tests.poses.test_training_heatmaps import recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, in the run's folder of a workplace with its data."""
    folder = tmp_path_factory.mktemp("heatmaps")
    heatmaps.folder(folder / "source", people=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HEADSTAND_CACHE", str(folder / "cache"))
        patch.setattr(record, "_draw", lambda folder, context: None)
        prepare(recipe())
        return folder / train(recipe(augmentation={})).checkpoint


@pytest.fixture(scope="module")
def result(trained: Path) -> Export:
    """Its export, converted once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained.parents[3])
        return export(trained)


@pytest.fixture(autouse=True)
def inside(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained.parents[3])


def test_the_bundle_predicts_like_the_checkpoint_and_describes_its_input(trained: Path, result: Export) -> None:
    bundle = bundles.read(result.bundle)
    assert bundle.input.kind == "heatmaps"
    input_metadata = bundle.metadata["input"]
    assert (input_metadata["kind"], input_metadata["shape"], input_metadata["dtype"]) == (
        "heatmaps",
        [17, 64, 48],
        "float32",
    )
    assert input_metadata["joints"] == list(heatmap_file.JOINTS)
    assert bundle.metadata["certificate"]["verdict"] == "passed"
    assert bundle.metadata["certificate"]["largest_difference"] <= 1e-4
    assert json.loads(result.certificate.read_text())["format"] == "float32"
    dataset = manifest.read(Path("data/poses"))
    classifier, keras_model = Classifier(result.bundle), checkpoint.load(trained)
    for photo in dataset.split("test"):
        path = dataset.folder / photo.path
        expected = np.asarray(keras_model(np.load(path)))[0]
        given = classifier.predict(path.read_bytes()).probabilities
        assert [given[label] for label in dataset.classes] == pytest.approx(expected.tolist(), abs=1e-4)
    # Both can be scored on the data.
    shown = np.stack([heatmap_file.decode(dataset.folder / photo.path) for photo in dataset.split("test")])
    probabilities = [models.load(path).predict(shown) for path in (trained, result.bundle)]
    np.testing.assert_allclose(*probabilities, atol=1e-4)


def test_heatmaps_without_a_person_give_finite_probabilities(trained: Path, result: Export) -> None:
    classifier, model = Classifier(result.bundle), checkpoint.load(trained)
    for value in (0.0, -0.0, -1e-4, 1e-20, 1.0, -1.0, 1e6, -1e38, 3e38):
        maps = np.full(heatmap_file.SHAPE, value, np.float32)
        for shown in (maps, np.where(np.arange(17)[:, None, None] % 2 == 0, maps, 0.0).astype(np.float32)):
            given = classifier.probabilities(shown[None])
            assert np.isfinite(given).all(), value
            np.testing.assert_allclose(given, np.asarray(model(shown[None])), atol=2e-3, err_msg=str(value))


@pytest.mark.slow
def test_the_best_format_supports_heatmaps(trained: Path) -> None:
    lines: list[str] = []
    result = export(Path(shutil.copy(trained, "best.h5")), "best", log=lines.append)
    assert result.kind in ("float32", "float16", "dynamic")
    assert not any(line.startswith("int8") for line in lines)
    assert bundles.read(result.bundle).input.kind == "heatmaps"


def test_int8_is_refused_with_the_supported_formats(trained: Path) -> None:
    with pytest.raises(ConversionError, match=r"int8 takes pixels .* \(float32, float16, dynamic, onnx or best\)"):
        export(trained, "int8")


def test_onnx_predicts_as_the_checkpoint(trained: Path) -> None:
    result = export(trained, "onnx")
    assert result.bundle == trained.with_suffix(".onnx")
    assert result.unmet == () and result.parity.largest_difference <= 1e-4
