"""Traces of some training steps for TensorBoard's profiler, recorded with the option `--profile`."""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
        self._steps, self._running, self._closed = 0, False, False
        self._mark: tf.profiler.experimental.Trace | None = None
        self._continue()

    def step(self, *_: object) -> None:
        """Counts a finished step; starts or stops the recording when its number is reached.

        It ignores its arguments, so that it can be a callback.
        """
        self._steps += 1
        if not self._closed:
            self._continue()

    def close(self) -> None:
        """Stops the recording if it is running."""
        self._closed = True
        self._end_mark()
        if self._running:
            self._running = False
            tf.profiler.experimental.stop()

    def _continue(self) -> None:
        self._end_mark()
        if self._steps == self._skip:
            tf.profiler.experimental.start(str(self._folder))
            self._running = True
        elif self._steps == self._skip + self._count:
            self.close()
        if self._running:
            # Marks where a step begins; the profiler computes step times from marks with `_r`.
            self._mark = tf.profiler.experimental.Trace(self._folder.name, step_num=self._steps, _r=1)
            self._mark.__enter__()

    def _end_mark(self) -> None:
        if self._mark:
            self._mark.__exit__(None, None, None)
            self._mark = None


@contextmanager
def trace(
    folder: Path, phase: str, enabled: bool, skip: int = 1, count: int = BATCHES
) -> Iterator[Callable[..., None]]:
    """Traces some steps of the `with` block; the recording stops with the block, also if it fails.

    Args:
        folder: the run's folder.
        phase: the trace is written to `profile/PHASE/` in the run's folder.
        enabled: False to record nothing.
        skip: steps before the recording.
        count: recorded steps.

    Yields:
        A function to call after each step; it ignores its arguments.
    """
    if not enabled:
        yield lambda *_: None
        return
    recording = Trace(folder / FOLDER / phase, skip, count)
    try:
        yield recording.step
    finally:
        recording.close()
