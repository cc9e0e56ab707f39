"""Feature extraction: each image passes the backbone once, and its feature row is cached on disk."""

from headstand.learn.features.decoding import BATCH
from headstand.learn.features.extractor import Extraction, Extractor
from headstand.learn.features.passing import Pass, compiled
from headstand.learn.features.photo import FeatureError, digest

__all__ = ["BATCH", "Extraction", "Extractor", "FeatureError", "Pass", "compiled", "digest"]
