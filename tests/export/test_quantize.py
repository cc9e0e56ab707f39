from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from headstand import heads
from headstand.evaluation import unknown_inputs
from headstand.evaluation.predictions import class_indices
from headstand.export import flatbuffer, quantize
from headstand.export.photo_samples import PhotoSample
from headstand.export.quantize import CalibrationError, calibration, divided, int8
from headstand.export.tflite_conversion import ConversionError
from headstand.features import backbones
from headstand.preparation.manifest import Dataset
from headstand.recipe import Backbone
from tests import networks, photos
from tests.networks import keras

PIXELS = np.random.default_rng(0).integers(0, 256, (24, networks.SIZE, networks.SIZE, 3)).astype(np.uint8)


def run(model: bytes, pixels: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    (input_details,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (input_details["dtype"], output_details["dtype"]) == (np.uint8, np.float32)
    # A step of the input is a step of the pixels: any interpreter may be given pixels as they are.
    assert input_details["quantization"] == (1, 0)
    rows = []
    for row in pixels:
        interpreter.set_tensor(input_details["index"], row[np.newaxis])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(output_details["index"])[0])
    return np.array(rows)


def test_it_takes_pixels_and_predicts_nearly_as_the_model(
    small_networks: None, capfd: pytest.CaptureFixture[str]
) -> None:
    model = networks.classifier(size=networks.SIZE)
    # Neither black nor white is in the photos.
    quantized = int8(model, np.clip(PIXELS, 20, 200))
    assert capfd.readouterr() == ("", "")
    outputs = run(quantized, PIXELS)
    np.testing.assert_allclose(outputs, model(PIXELS.astype(np.float32)), atol=0.05)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-6)  # of 8 bits, they would add up to 1 +- 0.01
    objects = flatbuffer.read(quantized)
    codes = [flatbuffer.operation(objects, operator) for operator in objects.subgraphs[0].operators]
    assert schema.BuiltinOperator.CUSTOM not in codes
    images = [tensor for tensor in objects.subgraphs[0].tensors if len(tensor.shape) == 4]
    in_float = [tensor for tensor in images if tensor.type == schema.TensorType.FLOAT32]
    assert {each.type for each in images} - {schema.TensorType.FLOAT32} == {
        schema.TensorType.UINT8, schema.TensorType.INT8,
    }  # fmt: skip
    # Only the last feature map, which pooling reads.
    assert [list(each.shape) for each in in_float] == [[1, *model.get_layer("backbone").output.shape[1:]]]
    assert int8(model, np.clip(PIXELS, 20, 200)) == quantized


@pytest.mark.parametrize("depths", [1, 2])
@pytest.mark.parametrize("features", [False, True])
def test_a_model_is_divided_before_pooling(depths: int, features: bool, small_networks: None) -> None:
    backbone = Backbone(name="MobileNet", size=networks.SIZE, weights="none", depths=depths)
    extractor = backbones.extractor(backbone)
    head = keras.Sequential([keras.Input(extractor.output.shape[1:]), keras.layers.Dense(3, activation="softmax")])
    rows = extractor(PIXELS.astype(np.float32)).numpy()
    model = heads.assemble(*backbones.balanced(extractor, head, rows), "divided")
    if features:
        model = unknown_inputs.with_features(model)
    parts = divided(model)
    assert parts
    maps, rest = parts
    given = maps(PIXELS.astype(np.float32))
    assert [len(each.shape) for each in keras.tree.flatten(given)] == [4] * depths
    found, expected = rest(given), model(PIXELS.astype(np.float32))
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_model_without_a_pooled_backbone_is_not_divided() -> None:
    pixels = keras.Input((32, 32, 3))
    assert divided(keras.Model(pixels, keras.layers.Dense(3)(keras.layers.Flatten()(pixels)))) is None


def test_operations_without_integer_kernels_stay_in_float() -> None:
    pixels = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=8)(keras.layers.Rescaling(1 / 255)(pixels))
    x = keras.ops.sin(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x))
    np.testing.assert_allclose(run(int8(model, PIXELS), PIXELS), model(PIXELS.astype(np.float32)), atol=0.05)


@pytest.mark.parametrize(
    "pixels", [PIXELS[:0], PIXELS.astype(np.float32), PIXELS[:, :16], PIXELS[0]], ids=["none", "float", "size", "one"]
)
def test_photos_that_cannot_be_calibrated_with(pixels: np.ndarray, small_networks: None) -> None:
    with pytest.raises(CalibrationError, match=r"uint8 \[N, 32, 32, 3\]"):
        int8(networks.classifier(), pixels)


def test_an_operation_of_tensorflows_own_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(pixels)
    model = keras.Model(pixels, keras.layers.Softmax()(keras.ops.erfinv(x / 300)))
    with pytest.raises(ConversionError, match="built-in TFLite operations"):
        int8(model, PIXELS[:2, :8, :8])
    assert capfd.readouterr() == ("", "")


def training(dataset: Dataset) -> PhotoSample:
    """The train split, as the export hands it over."""
    chosen = dataset.split("train")
    return PhotoSample("train", tuple(dataset.folder / photo.path for photo in chosen), class_indices(dataset, chosen))


def test_calibration_takes_equally_many_training_photos_of_all_classes(tmp_path: Path) -> None:
    counts = {"train": 5, "validation": 3, "test": 3}
    dataset = photos.prepare(tmp_path, counts)
    every = calibration(training(dataset), 40, 100)
    assert (every.shape, every.dtype) == ((15, 40, 40, 3), np.uint8)
    train = {quantize.images.decode(tmp_path / one.path).tobytes(): one.class_ for one in dataset.split("train")}
    labels = [train.pop(row.tobytes()) for row in every]
    assert not train
    for first in range(0, 15, 3):
        assert sorted(labels[first : first + 3]) == list(photos.CLASSES)
    np.testing.assert_array_equal(calibration(training(dataset), 40, 7), every[:7])


def test_all_photos_of_a_small_class_are_taken(tmp_path: Path) -> None:
    dataset = photos.prepare(tmp_path, {"train": 6, "validation": 1, "test": 1})
    few = [one for one in dataset.photos if one.class_ != "cross"] + [
        one for one in dataset.split("train") if one.class_ == "cross"
    ][:1]
    dataset = type(dataset)(tmp_path, tuple(few))
    decoded_cross = quantize.images.decode(tmp_path / few[-1].path, 40)
    chosen = calibration(training(dataset), 40, 5)
    assert len(chosen) == 5
    assert sum((row == decoded_cross).all() for row in chosen) == 1


def test_a_damaged_training_photo_is_named(tmp_path: Path) -> None:
    dataset = photos.prepare(tmp_path)
    path = tmp_path / dataset.split("train")[0].path
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CalibrationError, match=path.name):
        calibration(training(dataset), 40, 100)
