"""From a Keras model to a flatbuffer with built-in TFLite operations only."""

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

import keras
import tensorflow as tf

from headstand.errors import HeadstandError


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
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    # Only built-ins: an operation of TensorFlow's own would need the Flex delegate, a hundred times the runtime's size.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        with _quiet():
            return bytes(converter.convert())
    except Exception as error:  # the converter raises bare Exceptions with MLIR's text
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConversionError(f"the model cannot be converted to built-in TFLite operations: {reason}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's thousands of lines off the terminal.

    They come from Python's print, from warnings, from absl and straight from C++, so the file descriptors themselves
    are turned away.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with tempfile.TemporaryFile() as sink:
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])
