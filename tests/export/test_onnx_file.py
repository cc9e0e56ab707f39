import json
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

import convert_to_tflite
from headstand.export import latency, onnx_file
from headstand.export.acceptance import LIMITS
from headstand.export.exporting import export
from headstand.export.parity import ParityError
from headstand.export.tflite_conversion import ConversionError
from headstand.heads import checkpoint
from headstand.preparation.manifest import Dataset


@pytest.fixture(scope="module")
def small() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(features))


@pytest.fixture(scope="module")
def converted(small: keras.Model) -> bytes:
    return onnx_file.float32(small)


def test_the_model_has_named_tensors_and_the_same_probabilities(small: keras.Model, converted: bytes) -> None:
    graph = onnx.load_from_string(converted).graph
    shapes = [
        (tensor.name, [dim.dim_param or dim.dim_value for dim in tensor.type.tensor_type.shape.dim])
        for tensor in (*graph.input, *graph.output)
    ]
    assert shapes == [("pixels", ["N", 8, 8, 3]), ("probabilities", ["N", 3])]
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    given = onnx_file.runner(converted)(pixels)
    assert given.dtype == np.float32 and given.shape == (5, 3)
    assert np.abs(given - small(pixels.astype(np.float32)).numpy()).max() < 1e-5


def test_labels_and_metadata_are_in_the_file(converted: bytes) -> None:
    packed = onnx_file.pack(converted, ("left", "up", "ø"), {"name": "x", "temperature": 1.5})
    found = onnxruntime.InferenceSession(packed, providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map
    assert found["labels"].splitlines() == ["left", "up", "ø"]
    assert json.loads(found["headstand"]) == {"name": "x", "temperature": 1.5}


def test_its_latency_is_measured(converted: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "SECONDS", 0.0)
    (found,) = latency.latencies([converted])
    assert 0 < found.milliseconds < 1000


def test_an_operation_that_onnx_lacks_is_reported() -> None:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Lambda(_rare, output_shape=(3,))(inputs))
    with pytest.raises(ConversionError, match=r"cannot be converted to ONNX: .*BesselI0e"):
        onnx_file.float32(model)


def _rare(images: keras.KerasTensor) -> keras.KerasTensor:
    import tensorflow as tf

    return tf.math.bessel_i0e(tf.reduce_mean(images, axis=(1, 2)))


def test_data_that_is_no_model_is_reported() -> None:
    with pytest.raises(ConversionError, match="ONNX Runtime cannot run the converted model"):
        onnx_file.runner(b"nothing")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "tf2onnx"])
def test_a_missing_package_is_named(small: keras.Model, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConversionError, match=rf"not installed \({package}\): install tf2onnx and onnxruntime"):
        onnx_file.float32(small)


def test_a_checkpoint_is_exported_with_its_certificate(
    model: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    card = model.with_name("MODEL_CARD.md")
    before = card.read_bytes() if card.exists() else None
    convert_to_tflite.main([str(model), "--format", "onnx"])
    path = model.with_suffix(".onnx")
    out = capsys.readouterr().out
    assert f"written    {path} (onnx, " in out and "same top class on 100.00%" in out and "serve it" not in out
    certificate = json.loads(model.with_suffix(".onnx.parity.json").read_text())
    assert (certificate["verdict"], certificate["format"], certificate["photos"]) == ("passed", "onnx", "test")
    assert certificate["count"] == 12 and certificate["largest_difference"] <= 1e-4
    assert "onnxruntime" in certificate["versions"] and certificate["bytes"] == path.stat().st_size
    assert not model.with_suffix(".tflite").exists() and not model.with_suffix(".parity.json").exists()
    assert (card.read_bytes() if card.exists() else None) == before
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert tuple(metadata["labels"].splitlines()) == checkpoint.metadata(model).labels == dataset.classes
    record = json.loads(metadata["headstand"])
    assert record["certificate"]["verdict"] == "passed" and 0 <= record["threshold"] <= 1


def test_a_conversion_that_predicts_differently_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "onnx", -1.0)
    with pytest.raises(ParityError, match="the onnx model predicts differently"):
        export(model, "onnx")
    assert not model.with_suffix(".onnx").exists()
