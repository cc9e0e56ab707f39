"""Fine-tuning of the backbone after its head: low learning rate, warm-up, cosine decay, frozen BatchNormalization."""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

from headstand.finetune.callbacks import remove_state
from headstand.finetune.tuning import FinetuneResult, LabelledPhotos, compile_for, run

__all__ = ["FinetuneResult", "LabelledPhotos", "compile_for", "remove_state", "run"]
