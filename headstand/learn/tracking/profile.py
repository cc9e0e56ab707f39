"""A trace of some steps for TensorBoard's profiler, where the command line asks for it (`--profile`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

FOLDER = "profile"
"""In the run's folder: `tensorboard --logdir RUN/profile` shows it, with its profile plugin."""

BATCHES = 10
"""Batches of a trace: enough to see what comes again and again, some megabytes at most."""


class Trace:
    """A recording that begins after `skip` steps and ends after `count` more.

    The first step is left out since it compiles. Call `step` after each step and `close` at the end.
    """

    def __init__(self, folder: Path, skip: int, count: int) -> None:
        self._folder, self._skip, self._count = folder, skip, count
        self._done, self._running = 0, False
        self._mark: tf.profiler.experimental.Trace | None = None
        self._go()

    def step(self) -> None:
        """A step is done."""
        self._done += 1
        self._go()

    def close(self) -> None:
        """End the recording if it runs."""
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
            # Tells the profiler where a step begins; `_r` makes it one of those that step times are taken from.
            self._mark = tf.profiler.experimental.Trace(self._folder.name, step_num=self._done, _r=1)
            self._mark.__enter__()

    def _end_mark(self) -> None:
        if self._mark:
            self._mark.__exit__(None, None, None)
            self._mark = None


class Profile:
    """Traces of a run: one of feature extraction, one of the head, one of fine-tuning; none where not `wanted`."""

    def __init__(self, folder: Path, wanted: bool) -> None:
        self._folder = folder / FOLDER
        self._wanted = wanted
        self._trace: Trace | None = None

    def calls(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, of which the second to eleventh call are traced."""
        if not self._wanted:
            return function
        self._trace = trace = Trace(self._folder / phase, 1, BATCHES)

        def traced(*arguments: Any) -> Any:
            result = function(*arguments)
            trace.step()
            return result

        return traced

    def epochs(self, phase: str, epochs: int) -> Callable[[], None]:
        """To be called after each of a head's epochs: one is traced, the second where there are several."""
        if not self._wanted:
            return lambda: None
        self._trace = Trace(self._folder / phase, min(1, epochs - 1), 1)
        return self._trace.step

    def batches(self, phase: str) -> list[keras.callbacks.Callback]:
        """Callbacks that trace the second to eleventh batch of `fit`."""
        if not self._wanted:
            return []
        self._trace = Trace(self._folder / phase, 1, BATCHES)
        return [_Batches(self._trace)]

    def close(self) -> None:
        """End the trace that was begun last, however the phase ended."""
        if self._trace:
            self._trace.close()
            self._trace = None


class _Batches(keras.callbacks.Callback):
    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._trace.step()
