"""The part that is trained: a few layers on cached features, one compiled call an epoch."""

from headstand.learn.head.fitting import Fit, Split, class_weights, fit, fit_many, objective, rank
from headstand.learn.head.network import assemble, build
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
    "rank",
    "shown",
    "words",
]
