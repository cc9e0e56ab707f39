"""Training the whole network, after its head: a low rate, warm-up, cosine, BatchNormalization left alone."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from headstand.learn import checkpoint
from headstand.learn.activations import Activations, Prefix
from headstand.learn.answers import pixels
from headstand.learn.freezing import Parts, split
from headstand.learn.head import rank
from headstand.learn.precision import Precision
from headstand.learn.tracking import lines
from headstand.learn.tracking.stopwatch import COMPILING, NETWORK, VALIDATION, WAITING, Stopwatch
from headstand.learn.views import Views
from headstand.prepare.manifest import Photo
from headstand.recipe import Augmentation, Finetune

FROZEN = "frozen part"

AfterEpoch = Callable[[list[dict[str, float]]], None]


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning gave: the checkpoint that was kept, figures by epoch, and the epoch (from 1) that was best.

    `history` holds for every epoch `loss` (smoothed and weighed), `accuracy`, `val_loss`, `val_accuracy`,
    `learning_rate` (the higher one of its ends) and `gradient_norm` (the largest global norm of a step).
    """

    checkpoint: Path
    history: list[dict[str, float]]
    best_epoch: int

    @property
    def best(self) -> dict[str, float]:
        return self.history[self.best_epoch - 1]


@dataclass(frozen=True)
class Photos:
    """Photos of a prepared dataset: its folder, one-hot labels `float32 [N, classes]`, weights `float32 [N]`."""

    folder: Path
    photos: Sequence[Photo]
    labels: np.ndarray
    weights: np.ndarray

    @property
    def paths(self) -> list[Path]:
        return [self.folder / photo.path for photo in self.photos]


def run(
    model: keras.Model,
    photos: Photos,
    settings: Finetune,
    augmentation: Augmentation,
    seed: int,
    folder: Path,
    about: checkpoint.About,
    validation: Photos | None,
    watch: Stopwatch | None = None,
    after_epoch: AfterEpoch | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Tuned:
    """Train for `settings.epochs`; a call after an interruption goes on from the last whole epoch.

    Where a part of the backbone stays frozen, its answers are computed once: to the photos and to a finite number of
    views of them, `augmentation.views`. Else each epoch has views of its own.

    Args:
        model: backbone and trained head.
        photos: what is learnt from.
        settings: the recipe's.
        augmentation: how views are made.
        seed: of order and views.
        folder: where the best checkpoint is kept, as NAME_{epoch:02d}_{val_accuracy:.3f}.h5, and the state lies.
        about: goes into the checkpoint.
        validation: chooses the epoch; None to keep the last epoch, NAME_{epoch:02d}_all.h5.
        watch: counts what the time goes for.
        after_epoch: called after each epoch with the figures of all so far.
        callbacks: more of Keras's.

    Raises:
        FreezingError: more is to be unfrozen than there is.
        FeatureError: a photo is damaged, or there is no room for what the frozen part gives.
    """
    parts = split(model, settings.unfreeze)
    watch = watch or Stopwatch()
    with watch(FROZEN) if parts.prefix else nullcontext():
        batches, held_out = _data(parts, photos, validation, settings, augmentation, seed, about)
    compile_for(parts.rest, settings, settings.epochs * len(batches), parts.frozen)
    keeper = _Keeper(folder, about, settings.epochs, model, validated=validation is not None, after_epoch=after_epoch)
    done = keeper.restore(parts.rest)
    if done < settings.epochs:
        # What is validated are the averages, since they are what is kept.
        averaged = [keras.callbacks.SwapEMAWeights()] if settings.ema else []
        parts.rest.fit(
            batches,
            initial_epoch=done,
            epochs=settings.epochs,
            validation_data=held_out,
            validation_batch_size=None if isinstance(held_out, Activations) else settings.batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[
                *_precision(settings),
                _Epoch(batches),
                _Bar(len(batches)),
                _Clock(batches, watch),
                *callbacks,
                *averaged,
                keeper,
            ],
        )
    elif settings.ema:
        # As Keras leaves a model when it has trained it.
        parts.rest.optimizer.finalize_variable_values(parts.rest.trainable_variables)
    return Tuned(keeper.checkpoint(keeper.best_epoch), keeper.history, keeper.best_epoch)


def _data(
    parts: Parts,
    photos: Photos,
    validation: Photos | None,
    settings: Finetune,
    augmentation: Augmentation,
    seed: int,
    about: checkpoint.About,
) -> tuple[Views | Activations, Any]:
    """Batches to learn from, and what `fit` validates with."""
    if not parts.prefix:
        size = int(parts.rest.input.shape[1])
        views = Views(photos.paths, photos.labels, photos.weights, size, augmentation, settings, seed)
        return views, validation and (pixels(validation.folder, validation.photos, size), validation.labels)
    prefix = Prefix(parts.prefix, about.backbone, parts.depth)
    names, computed = prefix.prepare(photos.folder, photos.photos, augmentation, seed, FROZEN)
    held_out = None
    if validation:
        known, more = prefix.prepare(
            validation.folder, validation.photos, augmentation.model_copy(update={"views": 0}), seed, "frozen part"
        )
        computed += more
        plain = np.ones(len(validation.labels), np.float32)
        held_out = Activations(prefix, known, validation.labels, plain, settings, None)
    print(
        f"frozen up to {parts.layer}: {computed} photos and views computed, {prefix.width * 4 / 1000:.0f} kB each; "
        f"every epoch draws from each photo and its {augmentation.views} views",
        flush=True,
    )
    return Activations(prefix, names, photos.labels, photos.weights, settings, seed), held_out


def clean(folder: Path) -> None:
    """Remove what only resuming needed, three times the model's size, once the run is finished."""
    for state in folder.glob("*.weights.h5"):
        state.unlink()


def compile_for(model: keras.Model, settings: Finetune, steps: int, frozen: Sequence[keras.layers.Layer] = ()) -> None:
    """Make everything trainable but BatchNormalization and `frozen`, and set optimizer and loss.

    The optimizer is AdamW (Loshchilov & Hutter 2019) with a linear warm-up and a cosine down to zero over `steps`; it
    keeps a moving average of the weights (Polyak & Juditsky 1992).
    BatchNormalization stays in inference mode: with batches this small its statistics would drift, and Keras 3 ignores
    `training=False` on a nested model under `fit`.
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
        # XLA on a CPU is several times slower for convolutions than the default kernels.
        jit_compile=False,
    )


class AdamW(keras.optimizers.AdamW):
    """AdamW that remembers the largest global norm of the gradients, before anything is done to them."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # No variable of Keras: it is no part of the state that is saved.
        self.largest = tf.Variable(0.0, trainable=False)

    def apply(self, grads: Sequence[tf.Tensor], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        self.largest.assign(tf.maximum(self.largest, tf.linalg.global_norm(grads)))
        super().apply(grads, trainable_variables)


def _precision(settings: Finetune) -> list[keras.callbacks.Callback]:
    return [] if settings.precision == "float32" else [Precision(settings.precision)]


class _Epoch(keras.callbacks.Callback):
    """Tells the views which epoch it is; Keras calls a dataset's own `on_epoch_end` before the first epoch too."""

    def __init__(self, views: Views | Activations) -> None:
        super().__init__()
        self._views = views

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._views.epoch = epoch


class _Bar(keras.callbacks.Callback):
    """Progress within the epoch, on a terminal."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._bar = tqdm(total=self._steps, desc=f"epoch {epoch + 1}", unit="batch", disable=None, leave=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.close()


class _Clock(keras.callbacks.Callback):
    """Tells waiting from computing: a batch that was ready only after the step before had ended was waited for.

    The first step of all compiles the network, and its batch is asked for only after that.
    """

    def __init__(self, views: Views | Activations, watch: Stopwatch) -> None:
        super().__init__()
        self._views, self._watch, self._since, self._compiled = views, watch, 0.0, False

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._views.ready.clear()
        self._since = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        now = time.perf_counter()
        if self._compiled:
            waited = min(max(0.0, self._views.ready.get(batch, 0.0) - self._since), now - self._since)
            self._watch.add(WAITING, waited)
            self._watch.add(NETWORK, now - self._since - waited)
        else:
            self._watch.add(COMPILING, now - self._since)
            self._compiled = True
        self._since = now

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._since = time.perf_counter()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        self._watch.add(VALIDATION, time.perf_counter() - self._since)


class _Keeper(keras.callbacks.Callback):
    """Keeps the checkpoint of the best epoch, and after every epoch what resuming needs, in one file.

    That file holds weights, optimizer state and the figures of all epochs so far; it is replaced in one step, so a
    kill at any moment loses the epoch in flight and nothing else.
    """

    def __init__(
        self,
        folder: Path,
        about: checkpoint.About,
        epochs: int,
        whole: keras.Model,
        validated: bool,
        after_epoch: AfterEpoch | None = None,
    ) -> None:
        super().__init__()
        self._folder, self._about, self._epochs, self._validated = folder, about, epochs, validated
        # What is trained may be a part of it, with the same variables.
        self._whole = whole
        self._after_epoch, self._rate = after_epoch, 0.0
        self._state = folder / f"{'tuning' if validated else 'refit'}.weights.h5"
        self.history: list[dict[str, float]] = []

    def restore(self, model: keras.Model) -> int:
        """Put the last whole epoch's state into the model; the number of epochs that are done."""
        if not self._state.is_file():
            return 0
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self._state)
        with h5py.File(self._state, "r") as file:
            self.history = json.loads(file["history"][()])
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, with the best validation accuracy (then loss); the last where nothing is validated."""
        if not self._validated:
            return len(self.history)
        ranks = [rank(figures) for figures in self.history]
        return ranks.index(max(ranks)) + 1

    def checkpoint(self, epoch: int) -> Path:
        """Where the checkpoint of an epoch lies, if it was kept."""
        score = f"{self.history[epoch - 1]['val_accuracy']:.3f}" if self._validated else "all"
        return self._folder / f"{self._about.name}_{epoch:02d}_{score}.h5"

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._rate = float(self.model.optimizer.learning_rate)
        self.model.optimizer.largest.assign(0.0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        before = self.checkpoint(self.best_epoch) if self.history and self._validated else None
        figures = {key: float(value) for key, value in (logs or {}).items()}
        optimizer = self.model.optimizer
        # With warm-up the first rate of all is 0.
        rate = max(self._rate, float(optimizer.learning_rate))
        figures |= {"learning_rate": rate, "gradient_norm": float(optimizer.largest)}
        self.history.append(figures)
        print(f"epoch {epoch + 1}/{self._epochs} {lines.words(figures)}", flush=True)
        best = self._validated and self.best_epoch == len(self.history)
        if best or (len(self.history) == self._epochs and not self._validated):
            self._save(self.checkpoint(len(self.history)))
        temporary = self._state.with_name("part-" + self._state.name)
        try:
            with checkpoint.writing(self._state, [*self.model.weights, *self.model.optimizer.variables]):
                self.model.save_weights(temporary, overwrite=True)
                with h5py.File(temporary, "a") as file:
                    file.create_dataset("history", data=json.dumps(self.history))
            temporary.replace(self._state)
        finally:
            temporary.unlink(missing_ok=True)
        # Last of all: until the new state is there, a resumed run still needs the old best.
        if best and before:
            before.unlink(missing_ok=True)
        if self._after_epoch:
            self._after_epoch(self.history)

    def _save(self, path: Path) -> None:
        """Write the checkpoint: of the averages where there are any, while training goes on with the weights."""
        if not self.model.optimizer.use_ema:
            checkpoint.save(self._whole, path, self._about)
            return
        weights = self.model.get_weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        checkpoint.save(self._whole, path, self._about)
        self.model.set_weights(weights)
