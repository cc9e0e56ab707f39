"""Keras callbacks that set the epoch of the views, show a progress bar and measure the time by part."""

import time

import keras
from tqdm import tqdm

from headstand.finetune.activations import ActivationBatches
from headstand.finetune.views import TrainingBatches
from headstand.tracking.stopwatch import COMPILING, NETWORK, VALIDATION, WAITING, Stopwatch


class EpochCallback(keras.callbacks.Callback):
    """Callback that sets the dataset's `epoch`, on which its views depend.

    The dataset's own `on_epoch_end` is not used, since Keras calls it before the first epoch too.
    """

    def __init__(self, views: TrainingBatches | ActivationBatches) -> None:
        super().__init__()
        self._views = views

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._views.epoch = epoch


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

    def __init__(self, views: TrainingBatches | ActivationBatches, watch: Stopwatch) -> None:
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
