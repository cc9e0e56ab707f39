"""Quantizes weights and activations to 8-bit integers: a quarter of the size, at least twice as fast.

Pooling and the head stay in float32. They are a small part of the computation, and a head on standardised features
uses channels whose variance is smaller than a level of 8 bits.
"""

import re
from collections import Counter
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as tflite

from headstand import images
from headstand.errors import HeadstandError
from headstand.export import flatbuffer, joining, tflite_conversion
from headstand.export.correction import corrected
from headstand.export.photo_samples import PhotoSample
from headstand.heads import applied, model_layers


class CalibrationError(HeadstandError):
    """Raised for calibration photos that cannot be used."""


_POOL = re.compile(r"pool(_\d+)?")
"""Names of the pooling layers of a backbone with several depths."""

_CORRECTED_WITH = 64
"""Photos for bias correction: means over photos and pixel positions hardly change with more."""


def int8(model: keras.Model, photos: np.ndarray) -> bytes:
    """Converts to 8-bit integers with per-channel weights; operations without an integer kernel stay in float32.

    Biases are corrected (see `headstand.export.correction`): in docs/benchmarks.md that brought every model nearer to
    the trained one.

    Args:
        model: image classifier, `float32 [N, size, size, 3]` in 0..255 to probabilities.
        photos: `uint8 [N, size, size, 3]`, RGB, for the ranges of the activations.

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

    parts = divided(model)
    network = parts[0] if parts else model
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.inference_input_type = tf.uint8
    quantized = _softmax_in_float(tflite_conversion.run(converter))
    quantized = corrected(quantized, tflite_conversion.float32(network), photos[:_CORRECTED_WITH])
    if parts:
        quantized = joining.join(quantized, tflite_conversion.float32(parts[1]), range(len(parts[0].outputs)), "head")
    return quantized


def divided(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Divides a checkpoint's model, or one with its features as second output, before pooling.

    Returns:
        The network, from pixels to feature maps, and the head, from these maps to the model's outputs; None if the
        model does not have the layers of `headstand.features.backbones.extractor`.
    """
    if "backbone" not in [layer.name for layer in model.layers]:
        return None
    scaling, backbone, pooling, head = model_layers(model)
    pixels = keras.Input(model.input.shape[1:], name=model.input.name)
    x = applied(scaling, pixels)
    if "depths" in [layer.name for layer in backbone.layers]:  # pooling is part of the backbone
        pools = [layer for layer in backbone.layers if _POOL.fullmatch(layer.name)]
        maps = keras.Model(backbone.input, [layer.input for layer in pools], name="backbone")(x)
        given = [keras.Input(each.shape[1:], name=f"map_{number}") for number, each in enumerate(maps)]
        features = keras.Model([layer.input for layer in pools], backbone.output, name="pooling")(given)
    elif pooling:
        maps = [backbone(x)]
        given = [keras.Input(maps[0].shape[1:], name="map_0")]
        features = applied(pooling, given[0])
    else:
        return None
    probabilities = applied(head, features)
    outputs = [probabilities, features] if len(model.outputs) > 1 else probabilities
    # With the names of the model, tensors have the same names as in a conversion of the whole, every time.
    return keras.Model(pixels, maps, name=model.name), keras.Model(given, outputs, name="head")


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
