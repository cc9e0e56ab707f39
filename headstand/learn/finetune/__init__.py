"""Fine-tuning of the backbone after its head: low learning rate, warm-up, cosine decay, frozen BatchNormalization."""

from headstand.learn.finetune.compile import compile_for
from headstand.learn.finetune.keeper import clean
from headstand.learn.finetune.tuning import Photos, Tuned, run

__all__ = ["Photos", "Tuned", "clean", "compile_for", "run"]
