"""What an epoch's time went for, and how far it has come."""

import time

import keras
from tqdm import tqdm

from headstand.learn.activations import Activations
from headstand.learn.tracking.stopwatch import COMPILING, NETWORK, VALIDATION, WAITING, Stopwatch
from headstand.learn.views import Views


class Epoch(keras.callbacks.Callback):
    """Tells the views which epoch it is; Keras calls a dataset's own `on_epoch_end` before the first epoch too."""

    def __init__(self, views: Views | Activations) -> None:
        super().__init__()
        self._views = views

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._views.epoch = epoch


class Bar(keras.callbacks.Callback):
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


class Clock(keras.callbacks.Callback):
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
