"""Weights and activations in 8 bits."""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from headstand import images
from headstand.export.convert import converted
from headstand.export.evidence import Sample

REMEDIES = ("8 bits per channel",)
"""Ways to quantise, tried in this order until one passes."""


def int8(model: keras.Model, photos: np.ndarray, remedy: str = REMEDIES[0]) -> bytes:
    """Quantise to whole numbers: `uint8` pixels 0..255 in, float32 probabilities out.

    Args:
        model: image classifier, `float32 [N, size, size, 3]` to probabilities.
        photos: `uint8 [N, size, size, 3]`, from which the activations' ranges are taken.
        remedy: one of `REMEDIES`.

    Raises:
        ConversionError: the model needs an operation that TFLite does not have built in.
    """

    def samples() -> Iterator[list[np.ndarray]]:
        first = photos[0].copy()
        # The darkest and the brightest there can be: so the input's unit is one grey level, and pixels go in as they are.
        first[0, :2] = [[0] * 3, [255] * 3]
        for photo in (first, *photos):
            yield [photo[np.newaxis].astype(np.float32)]

    def eight_bits(converter: tf.lite.TFLiteConverter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8

    return converted(model, eight_bits)


def calibration(sample: Sample, size: int, count: int) -> np.ndarray:
    """Photos to take ranges from, `uint8 [M, size, size, 3]`: of each class about as many, where classes are known.

    Args:
        sample: training photos.
        size: side of the model's input in pixels.
        count: how many at most.

    Raises:
        ImageError: a photo is damaged.
    """
    order = np.random.default_rng(0).permutation(len(sample.paths))
    if sample.labels is not None:
        # The first of each class, then the second of each, and so on.
        turns = np.empty(len(order), int)
        for label in np.unique(sample.labels):
            own = order[sample.labels[order] == label]
            turns[own] = np.arange(len(own))
        order = order[np.argsort(turns[order], kind="stable")]
    return np.stack([images.decode(sample.paths[place], size) for place in order[:count]])
