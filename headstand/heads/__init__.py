"""Classification heads: dense layers trained on cached backbone features, one compiled graph call per epoch."""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

from headstand.heads.fitting import (
    FeatureSplit,
    Fit,
    Selection,
    batch_bounds,
    class_weights,
    fit,
    fit_many,
    objective,
    rank,
    refit,
)
from headstand.heads.network import (
    KEYS,
    applied,
    assemble,
    build,
    describe,
    model_layers,
    probabilities,
    setting_text,
)

__all__ = [
    "KEYS",
    "FeatureSplit",
    "Fit",
    "Selection",
    "applied",
    "assemble",
    "batch_bounds",
    "build",
    "class_weights",
    "describe",
    "fit",
    "fit_many",
    "model_layers",
    "objective",
    "probabilities",
    "rank",
    "refit",
    "setting_text",
]
