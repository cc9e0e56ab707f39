"""Fine-tunes a model on photos and selects the checkpoint."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headstand import inputs
from headstand.evaluation.predictions import class_indices
from headstand.finetune.batches import ActivationBatches, FrozenPrefix, TrainingBatches, ValidationBatches
from headstand.finetune.callbacks import (
    AfterEpoch,
    CheckpointCallback,
    EpochCallback,
    MixedPrecisionCallback,
    ProgressBarCallback,
    TimingCallback,
)
from headstand.finetune.freezing import SplitModel, split
from headstand.heads import Selection, checkpoint, class_weights
from headstand.preparation.manifest import Dataset, Photo
from headstand.recipe import Augmentation, Finetune
from headstand.tracking.timing import Stopwatch

FROZEN = "frozen part"


@dataclass(frozen=True)
class FinetuneResult:
    """Result of fine-tuning: the selected checkpoint, metrics by epoch, and the selected epoch (from 1).

    `history` holds for every epoch `loss` (label-smoothed and weighted), `accuracy`, `val_loss`, `val_accuracy`,
    `learning_rate` (the higher of those at its beginning and end) and `gradient_norm` (the largest global norm of a
    step). Without validation photos there are no `val_` metrics, and the selected epoch is the last one.
    """

    checkpoint: Path
    history: list[dict[str, float]]
    best_epoch: int

    @property
    def best(self) -> dict[str, float]:
        return self.history[self.best_epoch - 1]


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos of a prepared dataset with one-hot labels `float32 [N, classes]` and sample weights `float32 [N]`.

    `folder` is the dataset's folder.
    """

    folder: Path
    photos: Sequence[Photo]
    labels: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, photos: Sequence[Photo], balanced: bool = False) -> "LabelledPhotos":
        """Returns photos of a dataset with their labels; if `balanced`, weighted so that all classes count the same."""
        labels, classes = class_indices(dataset, photos), len(dataset.classes)
        weights = class_weights(labels, classes, balanced)
        return cls(dataset.folder, photos, np.eye(classes, dtype=np.float32)[labels], weights[labels])

    @property
    def paths(self) -> list[Path]:
        return [self.folder / photo.path for photo in self.photos]


def run(
    model: keras.Model,
    photos: LabelledPhotos,
    settings: Finetune,
    augmentation: Augmentation,
    seed: int,
    folder: Path,
    metadata: checkpoint.ModelMetadata,
    validation: LabelledPhotos | None,
    stopwatch: Stopwatch | None = None,
    after_epoch: AfterEpoch | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    epochs: int | None = None,
    selection: Selection = "accuracy",
) -> FinetuneResult:
    """Fine-tunes a model; a call after an interruption resumes after the last complete epoch.

    If a part of the backbone stays frozen, its activations are computed once, for the photos and for
    `augmentation.views` views of each. Otherwise each epoch draws new views.

    Args:
        model: backbone and trained head.
        photos: training photos.
        settings: fine-tuning section of the recipe.
        augmentation: settings of the views.
        seed: seed of order and views.
        folder: folder of the checkpoint, NAME_{epoch:02d}_{val_accuracy:.3f}.h5, and of the state to resume from.
        metadata: metadata of the checkpoint.
        validation: photos that select the epoch; None to keep the last epoch, NAME_{epoch:02d}_all.h5.
        stopwatch: collects the seconds by part.
        after_epoch: called after each epoch with the metrics of all epochs so far.
        callbacks: further Keras callbacks.
        epochs: stop after this epoch, which an earlier call has selected; the learning rate still follows the schedule
            of `settings.epochs`. None for all epochs.
        selection: validation metric that selects the epoch, see `headstand.heads.rank`.

    Raises:
        FreezingError: more layers or blocks are to be unfrozen than there are.
        FeatureError: a photo is damaged, or the disk has too little space for the activations of the frozen part.
    """
    epochs = epochs or settings.epochs
    parts = split(model, settings.unfreeze)
    stopwatch = stopwatch or Stopwatch()
    with stopwatch(FROZEN) if parts.prefix else nullcontext():
        batches, validation_batches = _batches(parts, photos, validation, settings, augmentation, seed, metadata)
    compile_for(parts.rest, settings, settings.epochs * len(batches), parts.frozen)
    checkpoints = CheckpointCallback(folder, metadata, epochs, model, selection if validation else None, after_epoch)
    finished = checkpoints.restore(parts.rest)
    if finished < epochs:
        precision = [] if settings.precision == "float32" else [MixedPrecisionCallback(settings.precision)]
        # Validate the averaged weights, since these are saved.
        averaged = [keras.callbacks.SwapEMAWeights()] if settings.ema else []
        parts.rest.fit(
            batches,
            initial_epoch=finished,
            epochs=epochs,
            validation_data=validation_batches,
            shuffle=False,
            verbose=0,
            callbacks=[
                *precision,
                EpochCallback(batches),
                ProgressBarCallback(len(batches)),
                TimingCallback(batches, stopwatch),
                *callbacks,
                *averaged,
                checkpoints,
            ],
        )
    elif settings.ema:
        # `fit` leaves the averaged weights in the model; a finished run that is resumed needs the same.
        parts.rest.optimizer.finalize_variable_values(parts.rest.trainable_variables)
    best_epoch = checkpoints.best_epoch
    return FinetuneResult(checkpoints.checkpoint(best_epoch), checkpoints.history, best_epoch)


def _batches(
    parts: SplitModel,
    photos: LabelledPhotos,
    validation: LabelledPhotos | None,
    settings: Finetune,
    augmentation: Augmentation,
    seed: int,
    metadata: checkpoint.ModelMetadata,
) -> tuple[TrainingBatches | ActivationBatches, ValidationBatches | ActivationBatches | None]:
    """Returns the training batches, and the validation batches or None."""
    if not parts.prefix:
        kind = inputs.of(parts.rest.input.shape[1:])
        views = TrainingBatches(photos.paths, photos.labels, photos.weights, kind, augmentation, settings, seed)
        if validation is None:
            return views, None
        return views, ValidationBatches(
            validation.folder, validation.photos, validation.labels, kind, settings.batch_size
        )
    prefix = FrozenPrefix(parts.prefix, metadata.backbone, parts.depth)
    keys, computed = prefix.prepare(photos.folder, photos.photos, augmentation, seed, FROZEN)
    validation_batches = None
    if validation:
        no_views = augmentation.model_copy(update={"views": 0})
        validation_keys, more = prefix.prepare(validation.folder, validation.photos, no_views, seed, FROZEN)
        computed += more
        weights = np.ones(len(validation.labels), np.float32)
        validation_batches = ActivationBatches(prefix, validation_keys, validation.labels, weights, settings, None)
    print(
        f"frozen up to {parts.layer}: {computed} photos and views computed, {prefix.width * 4 / 1000:.0f} kB each; "
        f"every epoch draws from each photo and its {augmentation.views} views",
        flush=True,
    )
    return ActivationBatches(prefix, keys, photos.labels, photos.weights, settings, seed), validation_batches


def compile_for(model: keras.Model, settings: Finetune, steps: int, frozen: Sequence[keras.layers.Layer] = ()) -> None:
    """Compiles the model for fine-tuning: all layers but BatchNormalization, `scale` and `frozen` become trainable.

    The optimizer is AdamW (Loshchilov & Hutter 2019) with a linear warm-up and a cosine decay to zero over `steps`. If
    `settings.ema` is positive it keeps a moving average of the weights (Polyak & Juditsky 1992). BatchNormalization
    stays in inference mode: with batches this small its statistics would drift, and Keras 3 ignores `training=False` on
    a nested model under `fit`.

    Args:
        model: whole model or the part after the frozen prefix.
        settings: fine-tuning section of the recipe.
        steps: optimizer steps of all epochs, warm-up included.
        frozen: layers that stay frozen.
    """
    model.trainable = True
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) or layer.name == "scale":
            layer.trainable = False
    for layer in frozen:
        layer.trainable = False
    warmup = round(steps * settings.warmup)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else settings.learning_rate,
        decay_steps=max(1, steps - warmup),
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    model.compile(
        AdamW(rate, weight_decay=settings.weight_decay, use_ema=settings.ema > 0, ema_momentum=settings.ema),
        keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing),
        metrics=["accuracy"],
        # On a CPU, XLA computes convolutions several times more slowly than the default kernels.
        jit_compile=False,
    )


class AdamW(keras.optimizers.AdamW):
    """AdamW that records the largest global norm of the gradients, before any processing, in `largest`."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # Not a Keras variable, so that it is not saved with the optimizer state.
        self.largest = tf.Variable(0.0, trainable=False)

    def apply(self, grads: Sequence[tf.Tensor], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        self.largest.assign(tf.maximum(self.largest, tf.linalg.global_norm(grads)))
        super().apply(grads, trainable_variables)
