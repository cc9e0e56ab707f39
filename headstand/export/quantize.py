"""Quantizes weights and activations to 8-bit integers: a quarter of the size, at least twice as fast."""

from collections import Counter
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
from headstand.export.photo_samples import PhotoSample


class CalibrationError(HeadstandError):
    """Raised for calibration photos that cannot be used."""


@dataclass(frozen=True)
class QuantizationVariant:
    """Quantization variant; `corrected` applies bias correction after plain quantization."""

    name: str
    corrected: bool = False


VARIANTS = (QuantizationVariant("plain"), QuantizationVariant("biases corrected", corrected=True))
"""The variants, simplest first, in the order in which they are converted until one passes."""

_CORRECTED_WITH = 64
"""Photos for bias correction: means over photos and pixel positions hardly change with more."""


def int8(model: keras.Model, photos: np.ndarray, variant: QuantizationVariant) -> bytes:
    """Converts to 8-bit integers with per-channel weights; operations without an integer kernel stay in float32.

    Args:
        model: image classifier, `float32 [N, size, size, 3]` in 0..255 to probabilities.
        photos: `uint8 [N, size, size, 3]`, RGB, for the ranges of the activations.
        variant: one of `VARIANTS`.

    Returns:
        A `.tflite` flatbuffer with batch size 1, uint8 pixels as input and float32 probabilities as output; the same
        arguments give the same bytes.

    Raises:
        ConversionError: the model needs an operation that is not built into TFLite.
        CalibrationError: there are no photos, or their shape or dtype is wrong.
    """
    shape = tuple(model.input.shape[1:])
    if photos.dtype != np.uint8 or photos.shape[1:] != shape or not len(photos):
        raise CalibrationError(
            f"calibration needs photos as uint8 [N, {', '.join(map(str, shape))}], not {photos.dtype} "
            f"{list(photos.shape)}"
        )

    def samples() -> Iterator[list[np.ndarray]]:
        for index, photo in enumerate(photos):
            sample = photo[np.newaxis].astype(np.float32)
            if not index:
                # A black and a white corner pixel fix the input range to 0..255 whatever the photos contain.
                sample[0, 0, 0], sample[0, -1, -1] = 0, 255
            yield [sample]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.inference_input_type = tf.uint8
    quantized = _softmax_in_float(convert.run(converter))
    return corrected(quantized, convert.float32(model), photos[:_CORRECTED_WITH]) if variant.corrected else quantized


def _softmax_in_float(quantized: bytes) -> bytes:
    """Moves the final softmax behind the dequantization: in 8 bits, all probabilities under 1 in 512 would be 0."""
    model = flatbuffer.read(quantized)
    graph = model.subgraphs[0]
    operations = [flatbuffer.operation(model, operator) for operator in graph.operators]
    produced_by = {operator.outputs[0]: number for number, operator in enumerate(graph.operators)}
    for output in graph.outputs:
        last = produced_by[output]
        first = produced_by.get(graph.operators[last].inputs[0], last)
        if [operations[first], operations[last]] == [tflite.BuiltinOperator.SOFTMAX, tflite.BuiltinOperator.DEQUANTIZE]:
            softmax, dequantize = graph.operators[first], graph.operators[last]
            logits, between, probabilities = softmax.inputs, softmax.outputs, dequantize.outputs
            dequantize.inputs, dequantize.outputs = logits, between
            softmax.inputs, softmax.outputs = between, probabilities
            tensor = graph.tensors[between[0]]
            tensor.type, tensor.quantization = tflite.TensorType.FLOAT32, None
            graph.operators[first], graph.operators[last] = dequantize, softmax
    return flatbuffer.write(model)


def calibration(sample: PhotoSample, size: int, count: int) -> np.ndarray:
    """Returns training photos for calibration, balanced over the classes as far as possible.

    Args:
        sample: training photos, with or without classes.
        size: input side of the model in pixels.
        count: number of photos; all if there are fewer.

    Returns:
        `uint8 [min(count, N), size, size, 3]`, RGB, the same ones each time.

    Raises:
        CalibrationError: a photo is missing or damaged.
    """
    rng = np.random.default_rng(0)
    ranks = Counter[int]()
    ranked = []
    for index in rng.permutation(len(sample.paths)):
        label = 0 if sample.labels is None else int(sample.labels[index])
        ranks[label] += 1
        ranked.append((ranks[label], index))
    # Sorted by their number within the class: this balances the classes for any count.
    chosen = [sample.paths[index] for _, index in sorted(ranked, key=lambda one: one[0])[:count]]
    result = np.empty((len(chosen), size, size, 3), np.uint8)
    for row, path in enumerate(chosen):
        try:
            result[row] = images.decode(path, size, large=True)
        except images.ImageError as error:
            raise CalibrationError(
                f"the {sample.name} photo {path} cannot be used for calibration: {error}; prepare the data again"
            ) from error
    return result
