"""Converts trained Keras models to `.tflite` bundles for serving."""
