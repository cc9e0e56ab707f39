"""Compares backbones and head variants by validation accuracy, model size and latency, using cached features."""
