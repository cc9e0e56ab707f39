"""Feature extraction: each image passes the backbone once, and its feature row is cached on disk."""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

from headstand.features.decoding import BATCH, FeatureError, digest
from headstand.features.extractor import CachedForwardPass, Extraction, Extractor, compiled

__all__ = ["BATCH", "CachedForwardPass", "Extraction", "Extractor", "FeatureError", "compiled", "digest"]
