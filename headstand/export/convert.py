"""From a Keras model to a flatbuffer with built-in TFLite operations only, its activations in floating point."""

from typing import Any

import keras
import tensorflow as tf

from headstand.errors import HeadstandError
from headstand.quiet import quiet


class ConversionError(HeadstandError):
    """A model that cannot be converted."""


def float32(model: keras.Model) -> bytes:
    """Convert without loss of precision.

    Args:
        model: image classifier, `float32 [N, size, size, 3]` to probabilities.

    Returns:
        A `.tflite` flatbuffer with a batch of one, float32 in and out.

    Raises:
        ConversionError: the model needs an operation that TFLite does not have built in.
    """
    return run(tf.lite.TFLiteConverter.from_keras_model(model))


def float16(model: keras.Model) -> bytes:
    """Convert with weights of 16 bits, half of float32's bytes; as `float32` otherwise.

    A processor without arithmetic of 16 bits, as nearly all are, computes in float32 with the rounded weights.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return run(converter)


def dynamic(model: keras.Model) -> bytes:
    """Convert with weights of 8 bits, their activations quantised anew for each photo; as `float32` otherwise.

    Needs no calibration, and is slower than float32 where LiteRT has no fast kernels for it: measure before choosing.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return run(converter)


def run(converter: Any) -> bytes:
    """Let a `tf.lite.TFLiteConverter` work in silence, with built-in operations alone, of integers where it may.

    Raises:
        ConversionError: the model needs an operation that TFLite does not have built in.
    """
    # An operation of TensorFlow's own would need the Flex delegate, a hundred times the runtime's size.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if converter.representative_dataset:
        converter.target_spec.supported_ops.append(tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
    try:
        with quiet():
            return bytes(converter.convert())
    except Exception as error:  # the converter raises bare Exceptions with MLIR's text
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConversionError(f"the model cannot be converted to built-in TFLite operations: {reason}") from error
