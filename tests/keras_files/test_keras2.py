"""Files as Keras 2 wrote them, byte by byte; the expected outputs are those of the same network built in Keras 3."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand.errors import HeadstandError
from headstand.export.foreign import load
from tests.keras_files import files
from tests.keras_files.files import LABELS, SIZE, entry, functional, operation, source
from tests.networks import keras, layers


def answers(model: Any) -> np.ndarray:
    return np.asarray(model(files.pixels(), training=False))


def initializer(kind: str) -> dict[str, Any]:
    return {"module": "keras.initializers", "class_name": kind, "config": {"seed": None}, "registered_name": None}


CONVOLUTION = {
    "kernel_size": [3, 3], "strides": [2, 2], "padding": "valid", "data_format": "channels_last",
    "dilation_rate": [1, 1], "groups": 1, "activation": "linear", "kernel_initializer": initializer("GlorotUniform"),
    "bias_initializer": initializer("Zeros"), "kernel_regularizer": None, "bias_regularizer": None,
    "activity_regularizer": None, "kernel_constraint": None, "bias_constraint": None,
}  # fmt: skip
DEPTHWISE = {
    **CONVOLUTION, "strides": [1, 1], "padding": "same", "use_bias": True, "depth_multiplier": 1,
    "depthwise_initializer": initializer("GlorotUniform"), "depthwise_regularizer": None, "depthwise_constraint": None,
}  # fmt: skip
NORMALIZATION = {
    "axis": [3], "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True,
    "beta_initializer": initializer("Zeros"), "gamma_initializer": initializer("Ones"),
    "moving_mean_initializer": initializer("Zeros"), "moving_variance_initializer": initializer("Ones"),
    "beta_regularizer": None, "gamma_regularizer": None, "beta_constraint": None, "gamma_constraint": None,
}  # fmt: skip
DENSE = {"use_bias": True, "kernel_initializer": initializer("GlorotUniform"), "kernel_regularizer": None}


def network(frozen: tuple[str, ...] = ()) -> dict[str, Any]:
    """What `tests.keras_files.files.base` is in Keras 3."""
    parts = [
        source("base_input", SIZE, SIZE, 3),
        entry("Conv2D", "conv", "base_input", **CONVOLUTION, filters=4, use_bias=False),
        entry("BatchNormalization", "bn", "conv", **NORMALIZATION),
        entry("ReLU", "relu", "bn", max_value=6.0, negative_slope=0.0, threshold=0.0),
        entry("DepthwiseConv2D", "depthwise", "relu", **DEPTHWISE),
        entry("BatchNormalization", "bn_2", "depthwise", **NORMALIZATION),
        entry("Add", "sum", "bn_2", "bn_2"),
    ]
    for part in parts:
        if part["name"] in frozen:
            part["config"]["trainable"] = False
    return functional("base", parts)


def stored(inner: keras.Model, frozen: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """A network's weights in one list, the trainable ones first, named as Keras 2 named them."""
    first: dict[str, np.ndarray] = {}
    rest: dict[str, np.ndarray] = {}
    for layer in inner.layers:
        for weight in layer.weights:
            fixed = layer.name in frozen or "moving" in weight.name
            name = weight.name.replace("kernel", "depthwise_kernel") if layer.name == "depthwise" else weight.name
            (rest if fixed else first)[f"{layer.name}/{name}:0"] = np.asarray(weight)
    return {**first, **rest}


def tutorial(
    frozen: tuple[str, ...] = (), kind: str = "Functional"
) -> tuple[dict[str, Any], keras.Model, dict[str, Any]]:
    """Transfer learning as TensorFlow's tutorial has it; the same in Keras 3; the weights."""
    augment = {
        "class_name": "Sequential",
        "config": {
            "name": "augment",
            "layers": [
                {"class_name": "RandomFlip", "config": {"name": "flip", "mode": "horizontal", "rng_type": "stateful"}},
                {"class_name": "RandomRotation", "config": {"name": "rotation", "factor": 0.2, "fill_value": 0.0}},
            ],
        },
        "name": "augment",
        "inbound_nodes": [[["photo", 0, 0, {"training": False}]]],
    }
    parts = [
        source("photo", SIZE, SIZE, 3),
        augment,
        operation("tf.math.truediv", "math.truediv", "augment", 1, y=127.5, name=None),
        operation("tf.math.subtract", "math.subtract", "tf.math.truediv", y=1.0, name=None),
        {**network(frozen), "name": "base", "inbound_nodes": [[["tf.math.subtract", 0, 0, {"training": False}]]]},
        entry("GlobalAveragePooling2D", "pool", ["base", 1, 0, {}], data_format="channels_last", keepdims=False),
        entry("Dropout", "dropout", "pool", rate=0.2, noise_shape=None, seed=None),
        entry("Dense", "head", "dropout", **DENSE, units=3, activation="softmax"),
    ]
    model = files.classifier()
    head = model.get_layer("head")
    weights = {
        "photo": {},
        "augment": {},
        "base": stored(model.get_layer("base"), frozen),
        "head": {"head/kernel:0": np.asarray(head.kernel), "head/bias:0": np.asarray(head.bias)},
    }
    return functional("model", parts, kind=kind), model, weights


@pytest.mark.parametrize(
    ("frozen", "version"),
    [
        ((), "2.2.4"),
        (("conv", "bn"), "2.15.0"),
        (("base_input", "conv", "bn", "relu", "depthwise", "bn_2", "sum"), "2.15.0"),
    ],
)
def test_transfer_learning_as_in_the_tutorial(tmp_path: Path, frozen: tuple[str, ...], version: str) -> None:
    description, model, weights = tutorial(frozen, "Model" if version == "2.2.4" else "Functional")
    path = files.legacy(tmp_path / "m.h5", description, weights, version)
    found = load(path, LABELS, "none")
    np.testing.assert_allclose(answers(found.model), answers(model), atol=1e-6)


def test_a_sequential_model_with_the_input_in_its_first_layer(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    kernel, alpha, dense = random.normal(size=(3, 3, 3, 4)), random.normal(size=(1, 1, 4)), random.normal(size=(196, 3))
    config = [
        {"class_name": "Conv2D", "config": {"name": "c", "batch_input_shape": [None, SIZE, SIZE, 3], "dtype": "float32",
         **CONVOLUTION, "strides": [1, 1], "activation": "relu6", "filters": 4, "use_bias": False}},
        {"class_name": "PReLU", "config": {"name": "p", "shared_axes": [1, 2], "alpha_regularizer": None}},
        {"class_name": "LeakyReLU", "config": {"name": "l", "alpha": 0.25}},
        {"class_name": "MaxPooling2D", "config": {"name": "m", "pool_size": [2, 2], "strides": [2, 2]}},
        {"class_name": "Flatten", "config": {"name": "f", "data_format": "channels_last"}},
        {"class_name": "Dense", "config": {"name": "d", "units": 3, "use_bias": False, "activation": "softmax"}},
    ]  # fmt: skip
    weights = {
        "c": {"c/kernel:0": kernel},
        "p": {"p/alpha:0": alpha},
        "l": {},
        "m": {},
        "f": {},
        "d": {"d_2/kernel:0": dense},
    }
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Rescaling(1 / 127.5, -1),
            layers.Conv2D(4, 3, activation="relu6", use_bias=False),
            layers.PReLU(shared_axes=[1, 2]),
            layers.LeakyReLU(0.25),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(3, "softmax", use_bias=False),
        ]
    )
    model.set_weights([kernel, alpha, dense])
    # Keras wrote a bare list of layers up to 2.2.2, afterwards an object with a name.
    for settings in (
        config,
        {"name": "sequential", "layers": config},
        {"name": "s", "layers": config, "trainable": True},
    ):
        path = files.legacy(tmp_path / "m.h5", {"class_name": "Sequential", "config": settings}, weights)
        found = load(path, LABELS, "xception")
        np.testing.assert_allclose(answers(found.model), answers(model), atol=1e-6)


def test_preprocessing_of_resnet_and_arithmetic_of_mobilenet(tmp_path: Path) -> None:
    means = [-103.939, -116.779, -123.68]
    backwards = [{"class_name": "__ellipsis__"}, {"start": None, "stop": None, "step": -1}]
    parts = [
        source("photo", SIZE, SIZE, 3),
        operation("item", "__operators__.getitem", "photo", slice_spec=backwards),
        operation("means", "nn.bias_add", "item", bias=means, data_format="NHWC"),
        operation("less", "math.multiply", "means", y=0.01, name=None),
        operation("plus", "__operators__.add", "less", y=3.0, name=None),
        entry("ReLU", "relu", "plus", max_value=6.0, negative_slope=0.0, threshold=0.0),
        entry("Multiply", "swish", "less", "relu"),
        operation("sum", "__operators__.add", "swish", y=["less", 0, 0], name=None),
        entry("Flatten", "flat", "sum", data_format="channels_last"),
        entry("Dense", "head", "flat", **{**DENSE, "use_bias": False}, units=3, activation="softmax"),
    ]
    kernel = np.random.default_rng(5).normal(0, 0.05, (SIZE * SIZE * 3, 3))
    path = files.legacy(tmp_path / "m.h5", functional("m", parts), {"head": {"head/kernel:0": kernel}})
    x = 0.01 * (files.pixels()[..., ::-1].astype(np.float64) + means)
    logits = (x * np.clip(x + 3, 0, 6) + x).reshape(len(x), -1) @ kernel
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers(load(path, LABELS, "none").model), expected, atol=1e-5)


def test_custom_layers_of_keras_applications(tmp_path: Path) -> None:
    gamma = np.array([0.5, -2, 3], np.float32)
    parts = [
        source("photo", SIZE, SIZE, 3),
        entry("LayerScale", "scaled", "photo", init_values=1e-6, projection_dim=3),
        {**entry("CustomScaleLayer", "both", "photo", "scaled", scale=0.17), "class_name": "Custom>CustomScaleLayer"},
        entry("GlobalAveragePooling2D", "pool", "both", data_format="channels_last"),
        entry("Rescaling", "small", "pool", scale=0.01, offset=0.0),
        entry("Activation", "end", "small", activation="softmax"),
    ]
    path = files.legacy(tmp_path / "m.h5", functional("m", parts), {"scaled": {"scaled/gamma:0": gamma}})
    logits = (files.pixels() * (1 + 0.17 * gamma)).mean(axis=(1, 2)) * 0.01
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers(load(path, LABELS, "none").model), expected, atol=1e-5)


def test_many_names_are_stored_in_several_attributes(tmp_path: Path) -> None:
    import h5py

    description, model, weights = tutorial()
    path = files.legacy(tmp_path / "m.h5", description, weights)
    with h5py.File(path, "r+") as file:
        for group, key in ((file["model_weights"], "layer_names"), (file["model_weights/base"], "weight_names")):
            names = list(group.attrs[key])
            del group.attrs[key]
            group.attrs[f"{key}0"], group.attrs[f"{key}1"] = names[:2], names[2:]
    np.testing.assert_allclose(answers(load(path, LABELS, "none").model), answers(model), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w["base"].update(spare=np.zeros(4)), r"Layer expects 11 weight\(s\)\. Received 12"),
        (lambda w: w.update(foot=w.pop("head")), "holds weights for 'foot', a layer that it does not have"),
        (lambda w: w.pop("head"), "describes layers with more weights than its file holds"),
        (lambda w: w["head"].update({"head/bias:0": np.zeros(4)}), r"head/bias\. Weight expects shape \(3,\)\. Rec"),
        (
            lambda w: w.update(head={"head/kernel:0": w["head"]["head/kernel:0"].T, "head/bias:0": np.zeros(3)}),
            r"head/kernel\. Weight expects shape \(4, 3\)\. Received .* \(3, 4\)",
        ),
        # Swapped mean and variance have the same shape; only their names differ.
        (
            lambda w: w.update(base={**dict(list(w["base"].items())[:-2]), **dict(list(w["base"].items())[:-3:-1])}),
            "holds 'bn_2/moving_variance:0' where 'base' has moving_mean",
        ),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: Any, reason: str) -> None:
    description, _, weights = tutorial()
    change(weights)
    with pytest.raises(HeadstandError, match=reason):
        load(files.legacy(tmp_path / "m.h5", description, weights), LABELS, "none")


def test_a_setting_that_keras_3_does_not_have_is_not_dropped(tmp_path: Path) -> None:
    description, _, weights = tutorial()
    bn = description["config"]["layers"][4]["config"]["layers"][2]["config"]
    bn["virtual_batch_size"] = None
    load(files.legacy(tmp_path / "m.h5", description, weights), LABELS, "none")
    bn["virtual_batch_size"] = 4
    with pytest.raises(
        HeadstandError, match=r"layer 'bn' \(BatchNormalization\) has 'virtual_batch_size' = 4, which Keras"
    ):
        load(files.legacy(tmp_path / "m.h5", description, weights), LABELS, "none")
