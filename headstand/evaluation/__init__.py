"""Evaluation of a classifier: metrics with confidence intervals, calibration, slices, mistakes and Grad-CAM."""

from headstand import tensorflow_setup  # noqa: F401 - before the first import of Keras
