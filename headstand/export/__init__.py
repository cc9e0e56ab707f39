"""Converts trained Keras models to `.tflite` bundles for serving."""

from headstand import tensorflow_setup  # noqa: F401 - before the first import of Keras
