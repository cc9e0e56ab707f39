"""Evaluation of a classifier: metrics with confidence intervals, calibration, slices, mistakes and Grad-CAM."""
