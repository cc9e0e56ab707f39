"""Checkpoint callback of fine-tuning: saves the best epoch's checkpoint and the state to resume from."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import keras

from headstand.heads import checkpoint, rank
from headstand.tracking import lines

AfterEpoch = Callable[[list[dict[str, float]]], None]


class CheckpointCallback(keras.callbacks.Callback):
    """Callback that saves the checkpoint of the best epoch and, after every epoch, the state to resume from.

    The state is one file with weights, optimizer state and the metrics of all epochs so far. It is replaced atomically,
    so a kill at any moment loses only the unfinished epoch. Without validation the checkpoint is that of the last of
    `epochs`.

    Args:
        folder: folder of both files.
        about: metadata of the checkpoint.
        epochs: number of epochs that will be trained.
        whole: model that is saved in the checkpoint; the trained model may be a part of it.
        validated: whether there are validation metrics.
        after_epoch: called after each epoch with the metrics of all epochs so far.
    """

    def __init__(
        self,
        folder: Path,
        about: checkpoint.ModelMetadata,
        epochs: int,
        whole: keras.Model,
        validated: bool,
        after_epoch: AfterEpoch | None = None,
    ) -> None:
        super().__init__()
        self._folder, self._about, self._epochs, self._validated = folder, about, epochs, validated
        # The trained model may be a part of this one and shares its variables.
        self._whole = whole
        self._after_epoch, self._rate = after_epoch, 0.0
        self._state = folder / f"{'tuning' if validated else 'refit'}.weights.h5"
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
        """Returns the epoch, from 1, with the best validation accuracy (then loss); without validation the last one."""
        if not self._validated:
            return len(self.history)
        ranks = [rank(figures) for figures in self.history]
        return ranks.index(max(ranks)) + 1

    def checkpoint(self, epoch: int) -> Path:
        """Returns the path at which an epoch's checkpoint is saved, if it is."""
        score = f"{self.history[epoch - 1]['val_accuracy']:.3f}" if self._validated else "all"
        return self._folder / f"{self._about.name}_{epoch:02d}_{score}.h5"

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._rate = float(self.model.optimizer.learning_rate)
        self.model.optimizer.largest.assign(0.0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        before = self.checkpoint(self.best_epoch) if self.history and self._validated else None
        figures = {key: float(value) for key, value in (logs or {}).items()}
        optimizer = self.model.optimizer
        # The higher of the rates at both ends of the epoch: with warm-up the first one is 0.
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
        # Deleted last: until the new state is written, a resumed run still needs the previous best checkpoint.
        if best and before:
            before.unlink(missing_ok=True)
        if self._after_epoch:
            self._after_epoch(self.history)

    def _save(self, path: Path) -> None:
        """Saves the checkpoint with the averaged weights, if there are any; the weights in training stay unchanged."""
        if not self.model.optimizer.use_ema:
            checkpoint.save(self._whole, path, self._about)
            return
        weights = self.model.get_weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        checkpoint.save(self._whole, path, self._about)
        self.model.set_weights(weights)


def clean(folder: Path) -> None:
    """Removes the state to resume from, which is three times the size of the model, once the run is finished."""
    for state in folder.glob("*.weights.h5"):
        state.unlink()
