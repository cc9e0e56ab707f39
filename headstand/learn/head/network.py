"""A head as a Keras model, which is saved, converted and fine-tuned."""

import keras
import numpy as np

from headstand import recipe as recipes

EPSILON = 1e-3
"""Added to the variance in batch normalization, as in Keras."""

_CHUNK = 1024
"""Rows at a time in `probabilities`, so that memory does not grow with their number."""


def activations(head: recipes.Head) -> tuple[str, ...]:
    """The activation of each inner layer."""
    return head.activation * len(head.inner) if len(head.activation) == 1 else head.activation


def build(head: recipes.Head, width: int, classes: int, seed: int) -> keras.Model:
    """The head: features `float32 [N, width]` to probabilities `float32 [N, classes]`, freshly initialised by seed.

    An inner layer is dense, then normalised if the recipe asks for it, then activated; dropout comes once, before the
    logits. So SELU, which keeps mean and variance from layer to layer (Klambauer et al. 2017), has its authors' normal
    initialisation here but not their alpha dropout: no SELU layer follows it.
    """
    keras.utils.set_random_seed(seed)
    features = keras.Input((width,), name="features")
    x = features
    for place, (size, activation) in enumerate(zip(head.inner, activations(head), strict=True), start=1):
        # Normalization subtracts the mean, and with it any bias before it.
        x = keras.layers.Dense(
            size,
            activation=None if head.batch_norm else activation,
            use_bias=not head.batch_norm,
            kernel_initializer="lecun_normal" if activation == "selu" else "glorot_uniform",
            name=f"inner_{place}",
        )(x)
        if head.batch_norm:
            x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"norm_{place}")(x)
            x = keras.layers.Activation(activation, name=f"activation_{place}")(x)
    if head.dropout:
        x = keras.layers.Dropout(head.dropout, seed=seed, name="dropout")(x)
    logits = keras.layers.Dense(classes, name="logits")(x)
    return keras.Model(features, keras.layers.Softmax(name="probabilities")(logits), name="head")


def assemble(extractor: keras.Model, head: keras.Model, name: str) -> keras.Model:
    """Backbone and head as one model: `float32 [N, size, size, 3]` in 0..255 to probabilities `[N, classes]`."""
    x = extractor.output
    for layer in head.layers[1:]:
        x = layer(x)
    return keras.Model(extractor.input, x, name=name)


def probabilities(head: keras.Model, features: np.ndarray) -> np.ndarray:
    """The head's predictions `float32 [N, classes]` for features `float32 [N, width]`, computed chunk by chunk."""
    chunks = (features[start : start + _CHUNK] for start in range(0, len(features), _CHUNK))
    return np.concatenate([head(np.asarray(chunk)).numpy() for chunk in chunks])
