"""Integers of 8 bits for weights and activations: a quarter of the size, and twice as fast or better."""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as tflite

from headstand import images
from headstand.errors import HeadstandError
from headstand.export import convert, flatbuffer
from headstand.export.correction import corrected
from headstand.export.evidence import Sample


class CalibrationError(HeadstandError):
    """Calibration photos that cannot be used."""


@dataclass(frozen=True)
class Remedy:
    """What is done beyond plain quantisation: `name` in a few words; `corrected` takes the shift out of the biases."""

    name: str
    corrected: bool = False


REMEDIES = (Remedy("plain"), Remedy("biases corrected", corrected=True))
"""From the simplest on, in the order in which to try them until one passes."""

_CORRECTED_WITH = 64
"""Photos that biases are corrected with: means over them and over all places hardly change with more."""


def int8(model: keras.Model, photos: np.ndarray, remedy: Remedy) -> bytes:
    """Convert to 8-bit integers, weights channel by channel; what TFLite cannot do in integers stays in float32.

    Args:
        model: image classifier, `float32 [N, size, size, 3]` in 0..255 to probabilities.
        photos: `uint8 [N, size, size, 3]`, RGB: what the ranges of the activations are taken from.
        remedy: one of `REMEDIES`.

    Returns:
        A `.tflite` flatbuffer with a batch of one, uint8 pixels in and float32 probabilities out; the same arguments
        give the same bytes.

    Raises:
        ConversionError: the model needs an operation that TFLite does not have built in.
        CalibrationError: there are no photos, or of another shape or dtype.
    """
    shape = tuple(model.input.shape[1:])
    if photos.dtype != np.uint8 or photos.shape[1:] != shape or not len(photos):
        raise CalibrationError(
            f"calibration needs photos as uint8 [N, {', '.join(map(str, shape))}], not {photos.dtype} "
            f"{list(photos.shape)}"
        )

    def samples() -> Iterator[list[np.ndarray]]:
        for number, photo in enumerate(photos):
            sample = photo[np.newaxis].astype(np.float32)
            if not number:
                # Black and white in two corners, so that the input's steps are those of the pixels whatever is shown.
                sample[0, 0, 0], sample[0, -1, -1] = 0, 255
            yield [sample]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.inference_input_type = tf.uint8
    quantized = _softmax_in_float(convert.run(converter))
    return corrected(quantized, convert.float32(model), photos[:_CORRECTED_WITH]) if remedy.corrected else quantized


def _softmax_in_float(quantized: bytes) -> bytes:
    """Swap a softmax with the step to floating point after it: in 8 bits, all under 1 in 512 would be 0."""
    model = flatbuffer.read(quantized)
    graph = model.subgraphs[0]
    operations = [flatbuffer.operation(model, operator) for operator in graph.operators]
    if operations[-2:] == [tflite.BuiltinOperator.SOFTMAX, tflite.BuiltinOperator.DEQUANTIZE]:
        softmax, dequantize = graph.operators[-2:]
        logits, between, probabilities = softmax.inputs, softmax.outputs, dequantize.outputs
        dequantize.inputs, dequantize.outputs = logits, between
        softmax.inputs, softmax.outputs = between, probabilities
        tensor = graph.tensors[between[0]]
        tensor.type, tensor.quantization = tflite.TensorType.FLOAT32, None
        graph.operators[-2:] = dequantize, softmax
    return flatbuffer.write(model)


def calibration(sample: Sample, size: int, count: int) -> np.ndarray:
    """Training photos to calibrate with, as many of each class as of the others as far as there are.

    Args:
        sample: training photos, with their classes or without.
        size: side of the model's input in pixels.
        count: how many photos; all, when there are fewer.

    Returns:
        `uint8 [min(count, N), size, size, 3]`, RGB, always the same ones.

    Raises:
        CalibrationError: a photo is missing or damaged.
    """
    rng = np.random.default_rng(0)
    turns: dict[int, int] = {}
    ranked = []
    for place in rng.permutation(len(sample.paths)):
        label = 0 if sample.labels is None else int(sample.labels[place])
        turns[label] = turns.get(label, 0) + 1
        ranked.append((turns[label], place))
    # First one photo of each class, then a second one of each, and so on: an even share whatever the count.
    chosen = [int(place) for _, place in sorted(ranked, key=lambda one: one[0])[:count]]
    result = np.empty((len(chosen), size, size, 3), np.uint8)
    for row, place in enumerate(chosen):
        path = sample.paths[place]
        try:
            result[row] = images.decode(path, size, large=True)
        except images.ImageError as error:
            raise CalibrationError(
                f"the {sample.name} photo {path} cannot be calibrated with: {error}; prepare the data again"
            ) from error
    return result
