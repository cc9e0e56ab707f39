"""Where a network looked for an answer."""

import keras
import numpy as np
import tensorflow as tf
from PIL import Image


def attention(model: keras.Model, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017): which parts of a picture raise a class's logit.

    Args:
        model: a checkpoint: the layer `backbone`, what makes probabilities of its feature maps, among it `logits`.
        pixels: `uint8 [N, size, size, 3]`.
        classes: `int [N]`, the class that each picture is asked about.

    Returns:
        `float32 [N, size, size]`, 0..1, the highest of each picture being 1; zeros where nothing speaks for the class.
    """
    names = [layer.name for layer in model.layers]
    before = model.layers[1 : names.index("backbone") + 1]
    after = model.layers[names.index("backbone") + 1 : names.index("logits") + 1]
    maps = tf.cast(pixels, tf.float32)
    for layer in before:
        maps = layer(maps, training=False)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logits = maps
        for layer in after:
            logits = layer(logits, training=False)
        asked = tf.gather(logits, classes, axis=1, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(asked, maps), axis=[1, 2], keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)).numpy()
    heat /= np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
    size = pixels.shape[1]
    return np.stack(
        [np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BILINEAR)) for one in heat]
    ).astype(np.float32)
