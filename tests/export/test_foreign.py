from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand.errors import HeadstandError
from headstand.export.foreign import ForeignModel, load
from headstand.export.tflite_conversion import float32
from tests.keras_files import files
from tests.keras_files.files import LABELS, SIZE
from tests.networks import keras, layers

FORMATS = pytest.mark.parametrize("suffix", [".h5", ".keras"])
ONE_FORMAT = pytest.mark.parametrize("suffix", [".keras", pytest.param(".h5", marks=pytest.mark.slow)])
"""For what does not depend on the format, in which `FORMATS` and tests/keras_files compare all layers."""


def predict(model: Any, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(model(pixels, training=False))


def softmax(logits: np.ndarray) -> np.ndarray:
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def refused(path: Path, labels: Any = LABELS, preprocess: str = "none", size: int | None = None) -> str:
    with pytest.raises(HeadstandError) as excinfo:
        load(path, labels, preprocess, size)
    message = str(excinfo.value)
    assert message.isprintable()
    assert len(message) < 700
    return message


@FORMATS
def test_predictions_are_those_of_keras(tmp_path: Path, suffix: str) -> None:
    model = files.classifier()
    found = load(files.saved(model, tmp_path / f"m{suffix}"), LABELS, "none")
    assert isinstance(found, ForeignModel)
    assert (found.labels, found.size, found.notes) == (LABELS, SIZE, ())
    assert found.model.input_shape == (None, SIZE, SIZE, 3)
    expected = predict(model, files.pixels())
    assert np.ptp(expected, axis=0).max() > 0.01  # photos differ, so a mix-up of weights shows
    np.testing.assert_allclose(predict(found.model, files.pixels()), expected, atol=1e-6)


@ONE_FORMAT
def test_a_partly_frozen_model(tmp_path: Path, suffix: str) -> None:
    model = files.classifier()
    inner = model.get_layer("base")
    for name in ("conv", "bn"):
        inner.get_layer(name).trainable = False
    found = load(files.saved(model, tmp_path / f"m{suffix}"), LABELS, "none")
    np.testing.assert_allclose(predict(found.model, files.pixels()), predict(model, files.pixels()), atol=1e-6)


@ONE_FORMAT
def test_a_sequential_model_around_a_network(tmp_path: Path, suffix: str) -> None:
    model = files.stirred(
        keras.Sequential(
            [
                keras.Input((SIZE, SIZE, 3)),
                keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.2)]),
                layers.Rescaling(1 / 255),
                files.base(),
                layers.Flatten(),
                layers.Dropout(0.5),
                layers.Dense(4, "relu"),
                layers.Dense(3),
                layers.Activation("softmax"),
            ]
        )
    )
    found = load(files.saved(model, tmp_path / f"m{suffix}"), LABELS, "none")
    assert found.notes == ()
    np.testing.assert_allclose(predict(found.model, files.pixels()), predict(model, files.pixels()), atol=1e-6)


@FORMATS
def test_layers_of_all_kinds(tmp_path: Path, suffix: str) -> None:
    given = keras.Input((SIZE, SIZE, 3))
    x = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0])(given)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.SeparableConv2D(6, 3, activation="swish")(x)
    x = layers.LeakyReLU(0.3)(x)
    left = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(4, 1, activation="gelu")(x))
    right = layers.Conv2DTranspose(4, 3, padding="same")(x)
    x = layers.Concatenate()([left, right, layers.Multiply()([left, right])])
    x = layers.MaxPooling2D(2)(layers.GroupNormalization(4)(x))
    x = layers.Cropping2D(1)(layers.UpSampling2D(2)(x))
    x = layers.LayerNormalization()(layers.AveragePooling2D(3)(x))
    x = layers.Permute((3, 1, 2))(x)
    x = layers.ELU()(layers.Reshape((-1,))(x))
    model = files.stirred(keras.Model(given, layers.Softmax()(layers.Dense(3)(x))))
    found = load(files.saved(model, tmp_path / f"m{suffix}"), LABELS, "none")
    np.testing.assert_allclose(predict(found.model, files.pixels()), predict(model, files.pixels()), atol=1e-5)


@FORMATS
def test_adapted_normalization(tmp_path: Path, suffix: str) -> None:
    layer = layers.Normalization()
    layer.adapt(files.pixels())
    model = files.stirred(
        keras.Sequential([keras.Input((SIZE, SIZE, 3)), layer, layers.Flatten(), layers.Dense(3, "softmax")])
    )
    layer.finalize_state()
    found = load(files.saved(model, tmp_path / f"m{suffix}"), LABELS, "none")
    np.testing.assert_allclose(predict(found.model, files.pixels()), predict(model, files.pixels()), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "mode"), [("xception", "xception"), ("resnet50", "caffe"), ("densenet", "torch"), ("efficientnet", "none")]
)
@ONE_FORMAT
def test_preprocessing_is_that_of_keras_applications(tmp_path: Path, name: str, mode: str, suffix: str) -> None:
    prepare = getattr(keras.applications, name).preprocess_input
    given = keras.Input((SIZE, SIZE, 3))
    head = layers.Dense(3, "softmax", name="head")
    model = files.stirred(keras.Model(given, head(layers.Flatten()(layers.Rescaling(0.01)(given)))))
    expected = predict(model, np.asarray(prepare(files.pixels())))
    outside = load(files.saved(model, tmp_path / f"outside{suffix}"), LABELS, mode)
    np.testing.assert_allclose(predict(outside.model, files.pixels()), expected, atol=1e-6)
    # The same with the preprocessing inside the model, as tutorials put it.
    inner = keras.Input((SIZE, SIZE, 3))
    network = keras.Model(inner, model(prepare(inner)))
    inside = load(files.saved(network, tmp_path / f"inside{suffix}"), LABELS, "none")
    np.testing.assert_allclose(predict(inside.model, files.pixels()), expected, atol=1e-6)


@pytest.mark.parametrize(
    "ending",
    [
        lambda: [layers.Dense(3)],
        lambda: [layers.Dense(3), layers.Activation("linear"), layers.Dropout(0.1)],
        lambda: [layers.Dense(3, "log_softmax")],
        lambda: [keras.Sequential([layers.Dense(4), layers.Dense(3)])],
    ],
)
def test_logits_get_a_softmax(tmp_path: Path, ending: Any) -> None:
    model = files.classifier(*ending())
    found = load(files.saved(model, tmp_path / "m.keras"), LABELS, "none")
    assert found.notes == ("the model ends in logits: a softmax was added",)
    np.testing.assert_allclose(predict(found.model, files.pixels()), softmax(predict(model, files.pixels())), atol=1e-6)


@pytest.mark.parametrize(
    "ending",
    [
        lambda: [layers.Dense(3, activation=keras.activations.softmax)],
        lambda: [layers.Dense(3), layers.Softmax()],
        lambda: [layers.Dense(3), layers.Activation("softmax"), layers.Dropout(0.1)],
        lambda: [keras.Sequential([layers.Dense(3, "softmax")]), layers.Flatten()],
        lambda: [layers.Dense(3), keras.ops.softmax],
        lambda: [layers.Dense(3, "softmax"), lambda x: layers.Average()([x, x])],
        lambda: [layers.Reshape((1, 1, 4)), layers.Conv2D(3, 1, activation="softmax")],
    ],
)
@ONE_FORMAT
def test_probabilities_get_no_second_softmax(tmp_path: Path, ending: Any, suffix: str) -> None:
    model = files.classifier(*ending())
    found = load(files.saved(model, tmp_path / f"m{suffix}"), LABELS, "none")
    assert found.notes == ()
    expected = predict(model, files.pixels()).reshape(-1, 3)
    np.testing.assert_allclose(predict(found.model, files.pixels()), expected, atol=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_output_becomes_two_classes(tmp_path: Path, activation: str | None) -> None:
    model = files.classifier(layers.Dense(1, activation))
    found = load(files.saved(model, tmp_path / "m.h5"), ("cat", "dog"), "none")
    p = predict(model, files.pixels())
    p = p if activation else 1 / (1 + np.exp(-p))
    np.testing.assert_allclose(predict(found.model, files.pixels()), np.hstack([1 - p, p]), atol=1e-6)
    (note,) = found.notes
    assert note.endswith("the probability of 'dog'; that of 'cat' is 1 minus it")
    assert ("a sigmoid was added" in note) == (activation is None)


def test_an_input_of_any_size_gets_the_given_size(tmp_path: Path) -> None:
    given = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(given))
    model = files.stirred(keras.Model(given, layers.Dense(3, "softmax")(x)))
    path = files.saved(model, tmp_path / "m.h5")
    assert "set it with --size PIXELS" in refused(path)
    found = load(path, LABELS, "none", 24)
    assert found.size == 24
    np.testing.assert_allclose(
        predict(found.model, files.pixels(size=24)), predict(model, files.pixels(size=24)), atol=1e-6
    )


def test_a_float16_model_is_calculated_in_float32(tmp_path: Path) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = files.classifier()
        path = files.saved(model, tmp_path / "m.keras")
    finally:
        keras.config.set_dtype_policy(before)
    found = load(path, LABELS, "none")
    assert {weight.dtype for weight in found.model.weights} == {"float32"}
    np.testing.assert_allclose(predict(found.model, files.pixels()), predict(model, files.pixels()), atol=0.02)


def test_it_converts_to_built_in_operations(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    found = load(files.saved(files.classifier(layers.Dense(1)), tmp_path / "m.h5"), ("cat", "dog"), "caffe")
    interpreter = Interpreter(model_content=float32(found.model))
    interpreter.allocate_tensors()
    (pixels,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(pixels["index"], files.pixels(1))
    interpreter.invoke()
    np.testing.assert_allclose(
        interpreter.get_tensor(output["index"]), predict(found.model, files.pixels(1)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("ending", "labels", "reason"),
    [
        (lambda: [layers.Dense(4, "softmax")], LABELS, "it has 4 outputs, and there are 3 labels"),
        (lambda: [layers.Dense(3, "sigmoid")], LABELS, "it ends in 3 sigmoids (a multi-label model)"),
        (lambda: [layers.Dense(3, "relu")], LABELS, "it ends in relu, whose outputs are neither logits nor probab"),
        (lambda: [layers.Dense(3), layers.UnitNormalization()], LABELS, "it ends in mul, whose outputs"),
        (
            lambda: [layers.Dense(1, "sigmoid")],
            LABELS,
            "it has one output, which means two classes, and",
        ),
        (lambda: [layers.Dense(1, "softmax")], ("a", "b"), "its one output ends in softmax"),
        (lambda: [layers.Reshape((2, 2, 1))], LABELS, "it does not classify whole photos"),
    ],
)
def test_other_output_layers_are_refused(tmp_path: Path, ending: Any, labels: Any, reason: str) -> None:
    assert reason in refused(files.saved(files.classifier(*ending()), tmp_path / "m.h5"), labels)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((SIZE, SIZE, 1), "its input has 1 channels; photos have 3"),
        ((3, SIZE, SIZE), "channels first; TFLite needs channels last"),
        ((SIZE, 20, 3), "its input is 16 x 20 pixels; Headstand needs a square input"),
        ((48,), "not [photos, height, width, 3]"),
        ((4, 4, 3), "its input is 4 pixels; Headstand supports 8 to 1024"),
    ],
)
def test_other_inputs_are_refused(tmp_path: Path, shape: tuple[int, ...], reason: str) -> None:
    model = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(3, "softmax")])
    assert reason in refused(files.saved(model, tmp_path / "m.h5"))


def test_several_inputs_or_outputs_are_refused(tmp_path: Path) -> None:
    one, two = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    x = layers.Flatten()(layers.Add()([one, two]))
    a, b = layers.Dense(3, "softmax")(x), layers.Dense(2, "softmax")(x)
    for model in (keras.Model([one, two], a), keras.Model(one, [layers.Dense(3)(layers.Flatten()(one)), one])):
        assert "an image classifier has one of each" in refused(files.saved(model, tmp_path / "m.keras"))
    assert b is not None


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    path = files.saved(files.classifier(), tmp_path / "m.h5")
    assert "unknown preprocessing 'tf'; there are xception, caffe, torch, lite, none" in refused(path, preprocess="tf")
    assert "its input is 16 pixels, so --size 20 does not fit" in refused(path, size=20)
    assert load(path, LABELS, "none", SIZE).size == SIZE
    assert "labels 1 and 2 are both 'a'" in refused(path, ("a", "a", "b"))
    assert "needs two labels or more" in refused(path, ())
    assert "there is no model" in refused(tmp_path / "other.h5")
    (tmp_path / "saved_model").mkdir()
    assert "is a folder (a SavedModel?)" in refused(tmp_path / "saved_model")


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    model = files.classifier()
    model.get_layer("head").bias.assign([0, float("nan"), 0])
    assert "are not all finite numbers" in refused(files.saved(model, tmp_path / "m.keras"))
