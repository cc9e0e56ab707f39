"""Inference and HTTP or AWS Lambda serving of an exported `.tflite` model, without TensorFlow."""
