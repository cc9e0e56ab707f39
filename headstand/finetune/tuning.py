"""Fine-tunes a model on photos and selects the checkpoint."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from headstand import inputs
from headstand.evaluation.predictions import class_indices
from headstand.finetune.activations import ActivationBatches, FrozenPrefix
from headstand.finetune.checkpoint_callback import AfterEpoch, CheckpointCallback
from headstand.finetune.compile import compile_for
from headstand.finetune.freezing import SplitModel, split
from headstand.finetune.precision import MixedPrecisionCallback
from headstand.finetune.timing_callback import EpochCallback, ProgressBarCallback, TimingCallback
from headstand.finetune.views import TrainingBatches, ValidationBatches
from headstand.heads import checkpoint, class_weights
from headstand.prepare.manifest import Dataset, Photo
from headstand.recipe import Augmentation, Finetune
from headstand.tracking.stopwatch import Stopwatch

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
    about: checkpoint.ModelMetadata,
    validation: LabelledPhotos | None,
    watch: Stopwatch | None = None,
    after_epoch: AfterEpoch | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    epochs: int | None = None,
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
        about: metadata of the checkpoint.
        validation: photos that select the epoch; None to keep the last epoch, NAME_{epoch:02d}_all.h5.
        watch: stopwatch that collects the seconds by part.
        after_epoch: called after each epoch with the metrics of all epochs so far.
        callbacks: further Keras callbacks.
        epochs: stop after this epoch, which an earlier call has selected; the learning rate still follows the schedule
            of `settings.epochs`. None for all epochs.

    Raises:
        FreezingError: more layers or blocks are to be unfrozen than there are.
        FeatureError: a photo is damaged, or the disk has too little space for the activations of the frozen part.
    """
    epochs = epochs or settings.epochs
    parts = split(model, settings.unfreeze)
    watch = watch or Stopwatch()
    with watch(FROZEN) if parts.prefix else nullcontext():
        batches, held_out = _data(parts, photos, validation, settings, augmentation, seed, about)
    compile_for(parts.rest, settings, settings.epochs * len(batches), parts.frozen)
    keeper = CheckpointCallback(folder, about, epochs, model, validated=validation is not None, after_epoch=after_epoch)
    done = keeper.restore(parts.rest)
    if done < epochs:
        # Validate the averaged weights, since these are saved.
        averaged = [keras.callbacks.SwapEMAWeights()] if settings.ema else []
        parts.rest.fit(
            batches,
            initial_epoch=done,
            epochs=epochs,
            validation_data=held_out,
            shuffle=False,
            verbose=0,
            callbacks=[
                *_precision(settings),
                EpochCallback(batches),
                ProgressBarCallback(len(batches)),
                TimingCallback(batches, watch),
                *callbacks,
                *averaged,
                keeper,
            ],
        )
    elif settings.ema:
        # `fit` leaves the averaged weights in the model; a finished run that is resumed needs the same.
        parts.rest.optimizer.finalize_variable_values(parts.rest.trainable_variables)
    return FinetuneResult(keeper.checkpoint(keeper.best_epoch), keeper.history, keeper.best_epoch)


def _data(
    parts: SplitModel,
    photos: LabelledPhotos,
    validation: LabelledPhotos | None,
    settings: Finetune,
    augmentation: Augmentation,
    seed: int,
    about: checkpoint.ModelMetadata,
) -> tuple[TrainingBatches | ActivationBatches, ValidationBatches | ActivationBatches | None]:
    """Returns the training batches, and the validation batches or None."""
    if not parts.prefix:
        kind = inputs.of(parts.rest.input.shape[1:])
        views = TrainingBatches(photos.paths, photos.labels, photos.weights, kind, augmentation, settings, seed)
        if validation is None:
            return views, None
        photos_ = validation.folder, validation.photos, validation.labels
        return views, ValidationBatches(*photos_, kind, settings.batch_size)
    prefix = FrozenPrefix(parts.prefix, about.backbone, parts.depth)
    names, computed = prefix.prepare(photos.folder, photos.photos, augmentation, seed, FROZEN)
    held_out = None
    if validation:
        known, more = prefix.prepare(
            validation.folder, validation.photos, augmentation.model_copy(update={"views": 0}), seed, "frozen part"
        )
        computed += more
        plain = np.ones(len(validation.labels), np.float32)
        held_out = ActivationBatches(prefix, known, validation.labels, plain, settings, None)
    print(
        f"frozen up to {parts.layer}: {computed} photos and views computed, {prefix.width * 4 / 1000:.0f} kB each; "
        f"every epoch draws from each photo and its {augmentation.views} views",
        flush=True,
    )
    return ActivationBatches(prefix, names, photos.labels, photos.weights, settings, seed), held_out


def _precision(settings: Finetune) -> list[keras.callbacks.Callback]:
    return [] if settings.precision == "float32" else [MixedPrecisionCallback(settings.precision)]
