"""Feature extraction: each image passes the backbone once, and its feature row is cached on disk."""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

from headstand.features.decoding import BATCH
from headstand.features.extractor import Extraction, Extractor
from headstand.features.forward_pass import CachedForwardPass, compiled
from headstand.features.photo import FeatureError, digest

__all__ = ["BATCH", "CachedForwardPass", "Extraction", "Extractor", "FeatureError", "compiled", "digest"]
