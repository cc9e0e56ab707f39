"""Keras callbacks of fine-tuning: mixed precision, epoch of the views, progress bar, timing, and checkpoints."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
from tqdm import tqdm

from headstand.finetune.batches import ActivationBatches, TrainingBatches
from headstand.heads import Selection, checkpoint, rank
from headstand.tracking.history import metrics_text
from headstand.tracking.timing import COMPILING, NETWORK, VALIDATION, WAITING, Stopwatch

AfterEpoch = Callable[[list[dict[str, float]]], None]


class MixedPrecisionCallback(keras.callbacks.Callback):
    """Callback that computes training steps with another dtype policy, and validates and saves in float32.

    The weights are always float32. A step's graph is traced with the policy that its layers have at that moment, so the
    policy is set before the steps of each epoch and reset before its validation. List it before the callbacks that save
    the model.
    """

    def __init__(self, policy: str) -> None:
        super().__init__()
        self._policy = policy

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        set_policy(self.model, self._policy)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        set_policy(self.model, "float32")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        set_policy(self.model, "float32")


def set_policy(model: keras.Model, policy: str) -> None:
    """Sets the dtype policy of all layers but the last, whose softmax needs more than the 8 bits of bfloat16."""
    last = model.layers[-1]
    for layer in model._flatten_layers(include_self=False):
        if layer is not last and not isinstance(layer, keras.Model):
            layer.dtype_policy = policy


class EpochCallback(keras.callbacks.Callback):
    """Callback that sets the dataset's `epoch`, on which its views depend.

    The dataset's own `on_epoch_end` is not used, since Keras calls it before the first epoch too.
    """

    def __init__(self, batches: TrainingBatches | ActivationBatches) -> None:
        super().__init__()
        self._batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._batches.epoch = epoch


class ProgressBarCallback(keras.callbacks.Callback):
    """Callback that shows a progress bar for the epoch on a terminal."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._bar = tqdm(total=self._steps, desc=f"epoch {epoch + 1}", unit="batch", disable=None, leave=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.close()


class TimingCallback(keras.callbacks.Callback):
    """Callback that measures the seconds of waiting for batches, computing, compiling and validating.

    If a batch was ready only after the previous step had ended, the time in between counts as waiting. The very first
    step counts as compiling, since it compiles the network and requests its batch only after that.
    """

    def __init__(self, batches: TrainingBatches | ActivationBatches, stopwatch: Stopwatch) -> None:
        super().__init__()
        self._batches, self._stopwatch, self._since, self._compiled = batches, stopwatch, 0.0, False

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._batches.ready.clear()
        self._since = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        now = time.perf_counter()
        if self._compiled:
            waited = min(max(0.0, self._batches.ready.get(batch, 0.0) - self._since), now - self._since)
            self._stopwatch.add(WAITING, waited)
            self._stopwatch.add(NETWORK, now - self._since - waited)
        else:
            self._stopwatch.add(COMPILING, now - self._since)
            self._compiled = True
        self._since = now

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._since = time.perf_counter()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        self._stopwatch.add(VALIDATION, time.perf_counter() - self._since)


class CheckpointCallback(keras.callbacks.Callback):
    """Callback that saves the checkpoint of the best epoch and, after every epoch, the state to resume from.

    The state is one file with weights, optimizer state and the metrics of all epochs so far. It is replaced atomically,
    so a kill at any moment loses only the unfinished epoch. Without validation the checkpoint is that of the last of
    `epochs`.

    Args:
        folder: folder of both files.
        metadata: metadata of the checkpoint.
        epochs: number of epochs that will be trained.
        saved_model: model that is saved in the checkpoint; the trained model may be a part of it.
        selection: validation metric that selects the epoch, see `headstand.heads.rank`; None without validation.
        after_epoch: called after each epoch with the metrics of all epochs so far.
    """

    def __init__(
        self,
        folder: Path,
        metadata: checkpoint.ModelMetadata,
        epochs: int,
        saved_model: keras.Model,
        selection: Selection | None,
        after_epoch: AfterEpoch | None = None,
    ) -> None:
        super().__init__()
        self._folder, self._metadata, self._epochs, self._selection = folder, metadata, epochs, selection
        # The trained model may be a part of this one and shares its variables.
        self._saved_model = saved_model
        self._after_epoch, self._rate = after_epoch, 0.0
        self._state = folder / f"{'tuning' if selection else 'refit'}.weights.h5"
        self.history: list[dict[str, float]] = []

    def restore(self, model: keras.Model) -> int:
        """Loads the state of the last complete epoch into the model; returns the number of complete epochs."""
        if not self._state.is_file():
            return 0
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self._state)
        with h5py.File(self._state, "r") as file:
            self.history = json.loads(file["history"][()])
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """Returns the epoch, from 1, that is best on validation; without validation the last one."""
        if not self._selection:
            return len(self.history)
        ranks = [rank(metrics, self._selection) for metrics in self.history]
        return ranks.index(max(ranks)) + 1

    def checkpoint(self, epoch: int) -> Path:
        """Returns the path of an epoch's checkpoint, which exists only if the epoch was selected."""
        score = f"{self.history[epoch - 1]['val_accuracy']:.3f}" if self._selection else "all"
        return self._folder / f"{self._metadata.name}_{epoch:02d}_{score}.h5"

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._rate = float(self.model.optimizer.learning_rate)
        self.model.optimizer.largest.assign(0.0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        previous_best = self.checkpoint(self.best_epoch) if self.history and self._selection else None
        metrics = {key: float(value) for key, value in (logs or {}).items()}
        optimizer = self.model.optimizer
        # The higher of the rates at both ends of the epoch: with warm-up the first one is 0.
        rate = max(self._rate, float(optimizer.learning_rate))
        metrics |= {"learning_rate": rate, "gradient_norm": float(optimizer.largest)}
        self.history.append(metrics)
        print(f"epoch {epoch + 1}/{self._epochs} {metrics_text(metrics)}", flush=True)
        best = self._selection and self.best_epoch == len(self.history)
        if best or (len(self.history) == self._epochs and not self._selection):
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
        # Deleted last: until the new state is written, a resumed run still needs the previous best checkpoint.
        if best and previous_best:
            previous_best.unlink(missing_ok=True)
        if self._after_epoch:
            self._after_epoch(self.history)

    def _save(self, path: Path) -> None:
        """Saves the checkpoint with the averaged weights, if there are any; the weights in training stay unchanged."""
        if not self.model.optimizer.use_ema:
            checkpoint.save(self._saved_model, path, self._metadata)
            return
        weights = self.model.get_weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        checkpoint.save(self._saved_model, path, self._metadata)
        self.model.set_weights(weights)


def remove_state(folder: Path) -> None:
    """Removes the state to resume from, which is three times the size of the model, once the run is finished."""
    for state in folder.glob("*.weights.h5"):
        state.unlink()
