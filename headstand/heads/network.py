"""A head as a Keras model, which is saved, converted and fine-tuned, and its settings as text for logs and tables."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np

from headstand import recipe as recipes
from headstand.tensorflow_setup import initial_weights

_ALWAYS = ("learning_rate", "inner", "dropout", "activation", "epochs", "batch_size")

KEYS = (*_ALWAYS, *sorted(set(recipes.Head.model_fields) - set(_ALWAYS)))
"""All settings of a head, those that are searched most often first; columns in tables of trials."""

EPSILON = 1e-3
"""Constant added to the variance in batch normalization, as in Keras."""

_CHUNK = 1024
"""Rows per forward pass in `probabilities`, so that memory does not grow with the number of rows."""


def activations(head: recipes.Head) -> tuple[str, ...]:
    """Returns the activation of each inner layer."""
    return head.activation * len(head.inner) if len(head.activation) == 1 else head.activation


def build(head: recipes.Head, width: int, classes: int, seed: int) -> keras.Model:
    """Returns an untrained head from features `float32 [N, width]` to probabilities `float32 [N, classes]`.

    An inner layer is a dense layer, batch normalization if the recipe sets it, and an activation; dropout is applied
    once, before the logits. SELU, which keeps mean and variance from layer to layer (Klambauer et al. 2017), therefore
    has its authors' LeCun normal initialisation but not their alpha dropout: no SELU layer follows the dropout.

    Args:
        head: the recipe's section.
        width: length of a feature vector.
        classes: number of classes.
        seed: seed of the initial weights and of dropout.
    """
    features = keras.Input((width,), name="features")
    x = features
    with initial_weights(seed):
        for number, (size, activation) in enumerate(zip(head.inner, activations(head), strict=True), start=1):
            # Batch normalization subtracts the mean, so a bias before it has no effect.
            x = keras.layers.Dense(
                size,
                activation=None if head.batch_norm else activation,
                use_bias=not head.batch_norm,
                kernel_initializer="lecun_normal" if activation == "selu" else "glorot_uniform",
                name=f"inner_{number}",
            )(x)
            if head.batch_norm:
                x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"norm_{number}")(x)
                x = keras.layers.Activation(activation, name=f"activation_{number}")(x)
        if head.dropout:
            x = keras.layers.Dropout(head.dropout, seed=seed, name="dropout")(x)
        logits = keras.layers.Dense(classes, name="logits")(x)
    return keras.Model(features, keras.layers.Softmax(name="probabilities")(logits), name="head")


def assemble(extractor: keras.Model, head: keras.Model, name: str) -> keras.Model:
    """Returns backbone and head as one model: `float32 [N, size, size, 3]`, 0..255, to probabilities `[N, classes]`.

    The layers of the head are copied, so that fine-tuning does not change it; those of the backbone are shared.
    """
    copy = keras.models.clone_model(head)
    copy.set_weights(head.get_weights())
    return keras.Model(extractor.input, applied(copy.layers[1:], extractor.output), name=name)


class ModelLayers(NamedTuple):
    """The layers of a model from `assemble`, in their order.

    `pooling` has no layer if pooling is part of the backbone, as with several depths, or there is none.
    """

    scaling: list[keras.layers.Layer]
    backbone: keras.Model
    pooling: list[keras.layers.Layer]
    head: list[keras.layers.Layer]


def model_layers(model: keras.Model) -> ModelLayers:
    """Returns the layers of a model from `assemble`, or of one with its features as second output.

    Raises:
        ValueError: the model has no layer `backbone`.
    """
    names = [layer.name for layer in model.layers]
    index = names.index("backbone")
    end = index + 1 + (names[index + 1 : index + 2] == ["pool"])
    layers = model.layers
    return ModelLayers(layers[1:index], layers[index], layers[index + 1 : end], layers[end:])


def applied(layers: Iterable[keras.layers.Layer], x: Any) -> Any:
    """Returns the output of a sequence of layers for the input `x`."""
    for layer in layers:
        x = layer(x)
    return x


def probabilities(head: keras.Model, features: np.ndarray) -> np.ndarray:
    """Returns the head's predictions `float32 [N, classes]` for features `float32 [N, width]`, computed in chunks."""
    chunks = (features[start : start + _CHUNK] for start in range(0, len(features), _CHUNK))
    return np.concatenate([head(np.asarray(chunk)).numpy() for chunk in chunks])


def describe(head: recipes.Head) -> str:
    """Returns a head's settings in one line: those searched most often, and others that differ from their default."""
    fields = recipes.Head.model_fields
    keys = [key for key in KEYS if key in _ALWAYS or getattr(head, key) != fields[key].default]
    return " ".join(f"{key}={setting_text(head, key)}" for key in keys)


def setting_text(head: recipes.Head, key: str) -> str:
    """Returns one setting of a head as text: `100+50` or `none` for a tuple, `yes` or `no` for a boolean."""
    value: Any = getattr(head, key)
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
