"""Serve: answers from a bundle, without TensorFlow."""
