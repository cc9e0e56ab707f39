"""Grad-CAM heatmaps: the image areas that contribute to a predicted class."""

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from headstand.features.backbones import feature_map
from headstand.heads import applied, model_layers


def grad_cam(model: keras.Model, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns Grad-CAM heatmaps (Selvaraju et al. 2017): the image areas that increase the logit of a class.

    Args:
        model: model of a checkpoint; its last layer but one gives the logits.
        pixels: images, `uint8 [N, size, size, 3]`.
        classes: class index for each image, `int [N]`.

    Returns:
        `float32 [N, size, size]` in 0..1, scaled to a maximum of 1 for each image; all zeros if no area increases the
        logit, or the network has no feature map.
    """
    scaling, network, pooling, head = model_layers(model)
    with_map = keras.Model(network.input, [network.output, feature_map(network)])
    values = applied(scaling, tf.cast(pixels, tf.float32))
    with tf.GradientTape() as tape:
        tape.watch(values)
        logits, maps = with_map(values, training=False)
        logits = applied([*pooling, *head[:-1]], logits)  # without the softmax
        class_logits = tf.gather(logits, classes, axis=1, batch_dims=1)
    if maps.shape.rank != 4:
        return np.zeros((*pixels.shape[:3],), np.float32)
    weights = tf.reduce_mean(tape.gradient(class_logits, maps), axis=[1, 2], keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)).numpy()
    heat /= np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
    size = pixels.shape[1]
    return np.stack(
        [np.asarray(Image.fromarray(area).resize((size, size), Image.Resampling.BILINEAR)) for area in heat]
    ).astype(np.float32)
