"""Classification heads: dense layers trained on cached backbone features, one compiled graph call per epoch."""

from headstand.learn.head.fitting import Fit, Split, class_weights, fit, fit_many, objective, rank, refit
from headstand.learn.head.network import assemble, build, probabilities
from headstand.learn.head.settings import KEYS, shown, words

__all__ = [
    "KEYS",
    "Fit",
    "Split",
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
