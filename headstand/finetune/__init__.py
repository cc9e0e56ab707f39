"""Fine-tuning of the backbone after its head: low learning rate, warm-up, cosine decay, frozen BatchNormalization."""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

from headstand.finetune.compile import compile_for
from headstand.finetune.checkpoint_callback import clean
from headstand.finetune.tuning import LabelledPhotos, FinetuneResult, run

__all__ = ["FinetuneResult", "LabelledPhotos", "clean", "compile_for", "run"]
