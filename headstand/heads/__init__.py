"""Classification heads: dense layers trained on cached backbone features, one compiled graph call per epoch."""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

from headstand.heads.fitting import Fit, FeatureSplit, class_weights, fit, fit_many, objective, rank, refit
from headstand.heads.network import assemble, build, probabilities
from headstand.heads.settings import KEYS, shown, words

__all__ = [
    "KEYS",
    "FeatureSplit",
    "Fit",
    "assemble",
    "build",
    "class_weights",
    "fit",
    "fit_many",
    "objective",
    "probabilities",
    "rank",
    "refit",
    "shown",
    "words",
]
