"""Traces of some training steps for TensorBoard's profiler, recorded with the option `--profile`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

FOLDER = "profile"
"""Folder of traces in the run's folder: `tensorboard --logdir RUN/profile` shows it, with its profile plugin."""

BATCHES = 10
"""Batches in a trace: enough to show what repeats, and a few megabytes at most."""


class Trace:
    """Profiler recording that begins after `skip` steps and ends after `count` more.

    The first step is usually skipped because it includes compilation. Call `step` after each step and `close` at the
    end.
    """

    def __init__(self, folder: Path, skip: int, count: int) -> None:
        self._folder, self._skip, self._count = folder, skip, count
        self._done, self._running = 0, False
        self._mark: tf.profiler.experimental.Trace | None = None
        self._go()

    def step(self) -> None:
        """Counts a finished step; starts or stops the recording when its number is reached."""
        self._done += 1
        self._go()

    def close(self) -> None:
        """Stops the recording if it is running."""
        self._end_mark()
        if self._running:
            self._running = False
            tf.profiler.experimental.stop()

    def _go(self) -> None:
        self._end_mark()
        if self._done == self._skip:
            tf.profiler.experimental.start(str(self._folder))
            self._running = True
        elif self._done == self._skip + self._count:
            self.close()
        if self._running:
            # Marks where a step begins; the profiler computes step times from marks with `_r`.
            self._mark = tf.profiler.experimental.Trace(self._folder.name, step_num=self._done, _r=1)
            self._mark.__enter__()

    def _end_mark(self) -> None:
        if self._mark:
            self._mark.__exit__(None, None, None)
            self._mark = None


class Profile:
    """Recorder of a run's traces of feature extraction, head and fine-tuning; does nothing unless `wanted`."""

    def __init__(self, folder: Path, wanted: bool) -> None:
        self._folder = folder / FOLDER
        self._wanted = wanted
        self._trace: Trace | None = None

    def calls(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function wrapped so that its second to eleventh call are traced."""
        if not self._wanted:
            return function
        self._trace = trace = Trace(self._folder / phase, 1, BATCHES)

        def traced(*arguments: Any) -> Any:
            result = function(*arguments)
            trace.step()
            return result

        return traced

    def epochs(self, phase: str, epochs: int) -> Callable[[], None]:
        """Returns a callback for the end of each epoch; the second epoch is traced, or the only one."""
        if not self._wanted:
            return lambda: None
        self._trace = Trace(self._folder / phase, min(1, epochs - 1), 1)
        return self._trace.step

    def batches(self, phase: str) -> list[keras.callbacks.Callback]:
        """Returns Keras callbacks that trace the second to eleventh batch of `fit`."""
        if not self._wanted:
            return []
        self._trace = Trace(self._folder / phase, 1, BATCHES)
        return [_Batches(self._trace)]

    def close(self) -> None:
        """Stops the current trace, also after a phase that failed."""
        if self._trace:
            self._trace.close()
            self._trace = None


class _Batches(keras.callbacks.Callback):
    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._trace.step()
