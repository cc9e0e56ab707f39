"""From a Keras model to a flatbuffer with built-in TFLite operations only."""

from collections.abc import Callable

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
    return converted(model, lambda converter: None)


def float16(model: keras.Model) -> bytes:
    """As `float32`, with weights of half precision; they are widened again when the file is loaded."""

    def half(converter: tf.lite.TFLiteConverter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]

    return converted(model, half)


def dynamic(model: keras.Model) -> bytes:
    """As `float32`, with weights of 8 bits; activations are quantised as they come, by their range."""

    def eight_bits(converter: tf.lite.TFLiteConverter) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]

    return converted(model, eight_bits)


def converted(model: keras.Model, settings: Callable[[tf.lite.TFLiteConverter], None]) -> bytes:
    """Convert with settings of the converter.

    Args:
        model: as `float32`.
        settings: changes the converter.

    Raises:
        ConversionError: the model needs an operation that TFLite does not have built in.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    # Only built-ins: an operation of TensorFlow's own would need the Flex delegate, a hundred times the runtime's size.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    settings(converter)
    try:
        with quiet():
            return bytes(converter.convert())
    except Exception as error:  # the converter raises bare Exceptions with MLIR's text
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConversionError(f"the model cannot be converted to built-in TFLite operations: {reason}") from error
