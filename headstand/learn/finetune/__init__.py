"""Training the whole network, after its head: a low rate, warm-up, cosine, BatchNormalization left alone."""

from headstand.learn.finetune.compile import compile_for
from headstand.learn.finetune.keeper import clean
from headstand.learn.finetune.tuning import Photos, Tuned, run

__all__ = ["Photos", "Tuned", "clean", "compile_for", "run"]
