"""Training the whole network, after its head: a low rate, warm-up, cosine, BatchNormalization left alone."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from headstand.learn import checkpoint
from headstand.learn.head import rank
from headstand.learn.tracking import lines
from headstand.learn.tracking.stopwatch import COMPILING, NETWORK, VALIDATION, WAITING, Stopwatch
from headstand.learn.views import Views
from headstand.recipe import Augmentation, Finetune

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
    """Training photos: files, one-hot labels `float32 [N, classes]`, weights `float32 [N]`."""

    paths: Sequence[Path]
    labels: np.ndarray
    weights: np.ndarray


def run(
    model: keras.Model,
    photos: Photos,
    settings: Finetune,
    augmentation: Augmentation,
    seed: int,
    folder: Path,
    about: checkpoint.About,
    validation: tuple[np.ndarray, np.ndarray] | None,
    watch: Stopwatch | None = None,
    after_epoch: AfterEpoch | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Tuned:
    """Train for `settings.epochs`; a call after an interruption goes on from the last whole epoch.

    Args:
        model: backbone and trained head.
        photos: what is learnt from.
        settings: the recipe's.
        augmentation: how the views of an epoch are made.
        seed: of order and views.
        folder: where the best checkpoint is kept, as NAME_{epoch:02d}_{val_accuracy:.3f}.h5, and the state lies.
        about: goes into the checkpoint.
        validation: `uint8 [N, size, size, 3]` and one-hot labels; None to keep the last epoch, NAME_{epoch:02d}_all.h5.
        watch: counts what the time goes for.
        after_epoch: called after each epoch with the figures of all so far.
        callbacks: more of Keras's.
    """
    views = Views(photos.paths, photos.labels, photos.weights, model.input.shape[1], augmentation, settings, seed)
    compile_for(model, settings, settings.epochs * len(views))
    keeper = _Keeper(folder, about, settings.epochs, validated=validation is not None, after_epoch=after_epoch)
    done = keeper.restore(model)
    if done < settings.epochs:
        # What is validated are the averages, since they are what is kept.
        averaged = [keras.callbacks.SwapEMAWeights()] if settings.ema else []
        model.fit(
            views,
            initial_epoch=done,
            epochs=settings.epochs,
            validation_data=validation,
            validation_batch_size=settings.batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[
                _Epoch(views),
                _Bar(len(views)),
                _Clock(views, watch or Stopwatch()),
                *callbacks,
                *averaged,
                keeper,
            ],
        )
    elif settings.ema:
        # As Keras leaves a model when it has trained it.
        model.optimizer.finalize_variable_values(model.trainable_variables)
    return Tuned(keeper.checkpoint(keeper.best_epoch), keeper.history, keeper.best_epoch)


def clean(folder: Path) -> None:
    """Remove what only resuming needed, three times the model's size, once the run is finished."""
    for state in folder.glob("*.weights.h5"):
        state.unlink()


def compile_for(model: keras.Model, settings: Finetune, steps: int) -> None:
    """Make everything trainable but BatchNormalization, and set optimizer and loss.

    The optimizer is AdamW (Loshchilov & Hutter 2019) with a linear warm-up and a cosine down to zero over `steps`; it
    keeps a moving average of the weights (Polyak & Juditsky 1992).
    BatchNormalization stays in inference mode: with batches this small its statistics would drift, and Keras 3 ignores
    `training=False` on a nested model under `fit`.
    """
    model.trainable = True
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) or layer.name == "scale":
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


class _Epoch(keras.callbacks.Callback):
    """Tells the views which epoch it is; Keras calls a dataset's own `on_epoch_end` before the first epoch too."""

    def __init__(self, views: Views) -> None:
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

    def __init__(self, views: Views, watch: Stopwatch) -> None:
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
        self, folder: Path, about: checkpoint.About, epochs: int, validated: bool, after_epoch: AfterEpoch | None = None
    ) -> None:
        super().__init__()
        self._folder, self._about, self._epochs, self._validated = folder, about, epochs, validated
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
            checkpoint.save(self.model, path, self._about)
            return
        weights = self.model.get_weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        checkpoint.save(self.model, path, self._about)
        self.model.set_weights(weights)
