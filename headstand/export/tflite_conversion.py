"""Converts a Keras model to a flatbuffer with built-in TFLite operations only and floating-point activations."""

import re
from typing import Any

import keras
import tensorflow as tf

from headstand.errors import HeadstandError
from headstand.quiet import quiet


class ConversionError(HeadstandError):
    """Raised for a model that cannot be converted."""


def float32(model: keras.Model) -> bytes:
    """Converts without loss of precision.

    Args:
        model: image classifier, `float32 [N, size, size, 3]` to probabilities.

    Returns:
        A `.tflite` flatbuffer with batch size 1, float32 input and output.

    Raises:
        ConversionError: the model needs an operation that is not built into TFLite.
    """
    return run(tf.lite.TFLiteConverter.from_keras_model(model))


def float16(model: keras.Model) -> bytes:
    """Converts with 16-bit weights, half the size of float32; otherwise as `float32`.

    Nearly all processors lack 16-bit arithmetic and compute in float32 with the rounded weights.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return run(converter)


def dynamic(model: keras.Model) -> bytes:
    """Converts with 8-bit weights and activations quantized per photo at run time; otherwise as `float32`.

    Needs no calibration. It is slower than float32 where LiteRT has no fast kernels for it, so measure first.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return run(converter)


def run(converter: Any) -> bytes:
    """Runs a `tf.lite.TFLiteConverter` silently with built-in operations only.

    Integer kernels are allowed if the converter has a representative dataset.

    Raises:
        ConversionError: the model needs an operation that is not built into TFLite.
    """
    # TensorFlow's own operations would need the Flex delegate, a hundred times the size of the runtime.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if converter.representative_dataset:
        converter.target_spec.supported_ops.append(tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
    try:
        with quiet():
            return bytes(converter.convert())
    except Exception as error:  # the converter raises bare Exceptions with MLIR's text
        if missing := re.search(r"(?:Custom|TF Select) ops: (.+)", str(error)):
            raise ConversionError(
                "the model cannot be converted to built-in TFLite operations: it needs "
                f"{missing[1].strip()}, which TFLite does not have built in; choose another backbone"
            ) from error
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConversionError(f"the model cannot be converted to built-in TFLite operations: {reason}") from error
